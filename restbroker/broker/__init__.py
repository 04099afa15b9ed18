"""The broker: lanes that take jobs from Redis, deliver them and settle them, and what keeps a process in order.

`broker.py` runs lives (`life.py`), a life runs lanes (`lane.py`). A job passes through `intake`, `delivery` and
`settling`; `upkeep` keeps the rest moving, `status` shows it, and `group` makes several processes one. It offers
`broker.run` to `app`. It may import `servers` by its contract, `store` and what is below; it knows no kind of server.
"""
