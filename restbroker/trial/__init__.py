"""restbroker beside a stand-in for ejabberd: `restbroker demo` shows it at work, `verify` breaks and judges it.

Offers its two commands to `cli`. Always holds: what is judged is seen by redis-py, which shares no code with the
broker. May import `console`, `operate` and what is below.
"""
