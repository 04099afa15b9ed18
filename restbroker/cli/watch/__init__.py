"""`restbroker stats --watch`: the figures again and again, as one screen, as blocks of lines, or as lines of JSON.

`past`, `troubles`, `targets`, `table` and `screen` are pure; `looks` asks Redis, `terminal` owns the terminal, and
`watching` has the three loops.
"""
