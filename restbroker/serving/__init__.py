"""Serves HTTP on behalf of the rooms above: one runner, and one way to make an app.

Used by `web`, `events`, `rosters` and `app`. Always holds: a request that could be two is refused. May import `config`
and what is below.
"""
