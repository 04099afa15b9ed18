"""HTTP to one target: a request goes out, a response or a truthful error comes back.

Offers `message.Transport`, with two engines behind it. Always holds: `NotSent` means that no byte was sent. This is the
only room that imports httpx. May import `config` and what is below.
"""
