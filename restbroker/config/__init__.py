"""Configuration: what the operator wrote, checked and typed. The attrs classes here are the list of keys.

Offers `load` and the classes `Config` and `Target`. Always holds: a message names the key and its place, and no value
of a secret. May import `job` and `errors`; kinds of servers are given to it.
"""
