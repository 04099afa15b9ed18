"""What people and programs request over HTTP: the pages, `/stats`, `/metrics`, and the health of the process.

Offers `site` to `app`. Always holds: every request passes `guard` first, and no page shows a secret. May import
`operate` and what is below it.
"""
