"""Many jobs from one file: `enqueue --bulk`, each row once, however often it is started again.

Offers `batch.run` to the command line. `rows` reads files, `jobs` makes jobs of their rows, `store` pushes
these and keeps the progress of a batch in Redis, `show` prints it. May import `console`, `operate` and what is below.
"""
