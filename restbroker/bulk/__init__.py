"""Many jobs from one file: `enqueue --bulk`, each row once, however often it is started again.

Offers `command` to the command line. `read`, `csv`, `ndjson` and `files` know files and rows, `push*` makes jobs of
them, `store` keeps how far a batch is. May import `console`, `operate` and what is below.
"""
