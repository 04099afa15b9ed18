"""Short-lived secrets that the processes share, such as a session that one of them logged in for.

For connectors that log in; none does yet. Always holds: a value is a `Secret` outside this file, ends by itself, and
appears in no log, text of an error or repr; a full Redis keeps it too, since what drains it may need it. Whoever may
read this Redis can read it, as all jobs: it belongs to the same trust.
"""

from restbroker.config.secret import Secret
from restbroker.store.client import Client
from restbroker.store.leases import milliseconds
from restbroker.store.replies import text

LONGEST_BYTES = 16384


def put(client: Client, name: str, secret: Secret, ttl_s: float) -> None:
    """Keeps a secret for `ttl_s` seconds, in place of the one before. Raises ValueError above `LONGEST_BYTES`."""
    value = secret.reveal().encode()
    if len(value) > LONGEST_BYTES:
        raise ValueError(f"A secret of {len(value)} bytes is too long to be kept; at most {LONGEST_BYTES}.")
    client.run("keep", [client.keys.vault(name)], [value, milliseconds(ttl_s)])


def get(client: Client, name: str) -> Secret | None:
    """The secret of this name; None if there is none, or not any more."""
    reply = client.command("GET", client.keys.vault(name))
    return None if reply is None else Secret(text(reply))


def drop(client: Client, name: str, secret: Secret) -> None:
    """Removes a secret that proved to be of no use; one that another process has put meanwhile stays."""
    client.run("release", [client.keys.vault(name)], [secret.reveal().encode()])
