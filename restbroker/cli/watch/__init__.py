"""`restbroker stats --watch`: repeat the stats, as one screen, as blocks of lines, or as lines of JSON.

`trend`, `problems`, `targets`, `table` and `screen` are pure; `sampler` reads Redis, `terminal` controls the terminal,
and `loop` has the three loops.
"""
