"""Connectors: one folder per server kind, each speaking that server's HTTP dialect."""
