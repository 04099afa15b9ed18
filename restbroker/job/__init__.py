"""The job and all rules about it: payload, arguments, tokens, retries, outcome, reply, masking of secrets.

Offers `job`, `arguments`, `auth`, `retry`, `settle`, `reply`, `redact` and more to every room above. Always holds: it
is pure, with no I/O, no clock and no randomness of its own; everything here is a function of its arguments. It may
import `errors` and `light` alone.
"""
