"""What every command of the command line needs: output, exits, questions to people, configuration, arguments, times.

Used by `cli`, `bulk` and `rosters`. Always holds: stdout is data, stderr is talk; no value of a secret is printed. May
import `operate` and what is below it, and no command.
"""
