"""Many jobs from one file: `enqueue --bulk`, each row once, however often it is started again.

Offers `command` to the command line. `read`, `csv`, `ndjson` and `files` read rows from files, `push*` make jobs of
them, `store` keeps the progress of a batch in Redis. May import `console`, `operate` and what is below.
"""
