"""What people do to jobs, queues, targets and processes: find, act, explain, audit, check, migrate.

Plain functions on the store, for commands, pages, `bulk` and `rosters`. Always holds: a change is written down before
it is made. May import `servers`, `store` and what is below; never a page, and of `broker` and `events` only what says
how they read tokens and which kinds of sources there are.
"""
