"""The command line: one file per command, loaded only when it is needed, and completion.

Offers `app.command_line` to `__main__`. What a command does is in `operate`, or in the folder of its feature; what all
of them need is in `console`. Always holds: data goes to stdout, messages for people to stderr. May import every room.
"""
