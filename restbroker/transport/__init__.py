"""HTTP to one target: sends a request, and returns the response or raises an error that says what was sent.

Offers `message.Transport`, with two engines behind it. Always holds: `NotSent` means that no byte was sent. This is the
only room that imports httpx. May import `config` and what is below.
"""
