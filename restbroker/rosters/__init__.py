"""Rosters for Prosody, kept in Redis: rules, files, commands, the service for Prosody's requests, and the refreshes.

`service` answers Prosody, `refresh` is the kind of target that tells it of changes, `command` is `restbroker roster`.
Always holds: a change, its version and its refresh are one step in Redis. May import `console` and what is below.
"""
