"""What Redis (or Valkey) holds, and the only room that speaks to it.

Offers `client` and `connection`, and a file of functions for each thing it holds, to every room above. Always holds: a
job is in exactly one place, whatever breaks. Everything but `connection` is synchronous and takes a `Client` first. May
import `config`, `job` and what is below.
"""
