"""`restbroker verify`: the crash test that people run against their own Redis. Called by `cli.verify`."""
