"""Any HTTP API: what is sent for a command is written in the configuration."""
