"""When jobs were last admitted with which token. Written by the heartbeat, read by `restbroker token list`.

Always holds: names and times only, never a secret. For display: a write that is lost is made up for by the next.
"""

from collections.abc import Mapping

from restbroker.errors import StoreRefused
from restbroker.store.client import Client, as_fields, mapping


def remember(client: Client, used: Mapping[str, float]) -> None:
    """Write the last use of each of these tokens: name → epoch seconds. Raise `StoreUnavailable` or `StoreRefused`."""
    if used:
        client.command("HSET", client.keys.tokens, *as_fields({name: int(at_s) for name, at_s in used.items()}))


def last_uses(client: Client) -> Mapping[str, float]:
    """Return the last use of each token that was ever used: name → epoch seconds.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    found = mapping(client.command("HGETALL", client.keys.tokens))
    try:
        return {name: float(at_s) for name, at_s in found.items()}
    except ValueError as error:
        raise StoreRefused(
            f"The hash {client.keys.tokens} has values that are not times.",
            "Another program wrote to it; you may delete it.",
        ) from error
