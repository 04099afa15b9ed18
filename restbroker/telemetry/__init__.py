"""What happened, as events, and the sinks that show it: the log, metrics, Sidekiq's statistics.

Rooms report by `events.Report`; only sinks write. Always holds: no event has a secret. May import `errors` and `light`.
"""
