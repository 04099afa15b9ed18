"""`restbroker verify`: the crash test that users run against their own Redis.

Offers its command to `cli.verify`. Always holds: nothing outside its own namespace in that Redis is written. May import
`standins` and what is below it.
"""
