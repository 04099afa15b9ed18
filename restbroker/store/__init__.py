"""All data in Redis (or Valkey), and the only room that sends commands to it.

Offers `client`, `connection`, and one file of functions for each thing that Redis holds, to every room above. Always
holds: a job is in exactly one place, even if a process, Redis or the network fails. Everything but `connection` is
synchronous and takes a `Client` first. May import `config`, `job` and what is below.
"""
