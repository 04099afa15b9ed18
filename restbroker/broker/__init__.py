"""The broker: pools that take jobs from Redis, deliver them and settle them, and what keeps a process in order.

`broker.py` runs generations (`generation.py`), a generation runs worker pools (`worker_pool.py`). A job passes through
`poller.py`, `worker.py` and `acker.py`; `status` shows it, and `group` makes several processes one. It offers
`broker.run` to `app`. It may import `servers` by its contract, `store` and what is below; it knows no kind of server.
"""
