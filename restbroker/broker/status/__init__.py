"""How the broker is, for whoever looks at it from outside: pages, systemd, Sidekiq Web."""
