"""The configuration: what the operator wrote, checked and typed; its attrs classes are the list of keys.

Offers `load` and the classes `Config` and `Target`. Always holds: a message names the key and its place, and never
shows the value of a secret. May import `job` and `errors`; the kinds of servers are passed to it.
"""
