"""Rosters for Prosody, kept in Redis: rules, files, changes, the service for Prosody's requests, and the refreshes.

`service` answers Prosody, `refresh` is the kind of target that tells it of changes; `cli.roster` is the command.
Always holds: a change, its version and its refresh are one step in Redis. May import `operate` and what is below.
"""
