"""What every command of the command line needs: output, exits, questions, configuration, arguments, times.

Used by `cli`, `bulk` and `rosters`. Always holds: data goes to stdout, messages for people to stderr; no value of a
secret is printed. May import `operate` and what is below it, and no command.
"""
