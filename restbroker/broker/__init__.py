"""The broker: pools that take jobs from Redis, deliver them and settle them, and what keeps a process in order.

`broker.py` runs generations (`generation.py`), a generation runs worker pools (`worker_pool.py`). A job passes through
`intake.py`, `worker.py` and `acker.py`; begin with the header of `delivery.py`. `status` shows the process, `workers`
keeps several processes running. It offers `broker.run` to `app`. It may import `servers` by its contract, `store` and
what is below; it knows no kind of server.
"""
