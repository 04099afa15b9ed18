"""restbroker: the durable bridge between Sidekiq-format queues in Redis and the HTTP APIs of XMPP servers or others."""

__version__ = "0.1.0"
