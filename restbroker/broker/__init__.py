"""The broker: lanes that take jobs from Redis, deliver them and settle them, and what keeps a process in order."""
