"""Shows restbroker at work with nothing installed: an embedded Redis, a stand-in for a server, a real broker.

Offers its command to `restbroker demo`. May import `standins`, `console`, `operate` and what is below.
"""
