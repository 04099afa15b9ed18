"""What people do to jobs, queues, targets and processes: find, act, explain, audit, check, migrate.

Plain functions on the store, for commands, pages, `bulk` and `rosters`. Always holds: a change is written
down before it is made. May import `servers`, `store` and what is below; never the broker's agents or a page.
"""
