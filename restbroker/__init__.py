"""restbroker: the durable bridge between Sidekiq-format job queues in Redis and the HTTP APIs of XMPP servers."""

__version__ = "0.1.0"
