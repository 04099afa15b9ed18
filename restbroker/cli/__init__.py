"""The command line: one file per command, loaded only when it is asked for, and completion.

Offers `app.command_line` to `__main__`. What a command does is in `operate`, or in the folder of its feature; what all
of them need is in `console`. Always holds: stdout is data, stderr is talk. May import every room.
"""
