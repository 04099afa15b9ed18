"""Many jobs from one file: `enqueue --bulk`, each row once, however often it is started again.

Offers `command` to the command line. `read`, `csv` and `files` read rows from files, `jobs` makes jobs of them, `push`
and `batch` push these, `store` keeps the progress of a batch in Redis, `show` prints it. May import `console`,
`operate` and what is below.
"""
