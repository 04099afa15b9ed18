"""Events about all that happens in a process, and the sinks that show them: the log, metrics, Sidekiq's statistics.

Rooms report by `events.Report`; only sinks write. Always holds: no event has a secret. May import `errors` and
`light`.
"""
