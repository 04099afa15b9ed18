"""What Redis (or Valkey) holds, and the only room that speaks to it.

Used by broker, operate, events and the command line. Always holds: a job is in exactly one place, whatever breaks.
Everything but `connection` is synchronous and takes a `Client` first. May import `config`, `job` and what is below.
"""
