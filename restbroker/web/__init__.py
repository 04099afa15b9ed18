"""What people and machines look at over HTTP: the pages, `/stats`, `/metrics`, and whether the process is well.

Offers `site` to `app`. Always holds: every request passes `guard` first, and no page shows a secret. May import
`operate` and what is below it.
"""
