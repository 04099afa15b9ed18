"""How the broker is, as seen from outside: by pages, systemd and Sidekiq Web."""
