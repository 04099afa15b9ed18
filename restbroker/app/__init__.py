"""Makes a running process of a configuration: the only room that knows every part. Called by the command line.

Always holds: parts get what they need from here, and do not look for each other. May import every room but `cli`.
"""
