"""What jobs must carry to be let in, and what each token allows.

Made by `config.load`; used by the broker's admission and by the command line. Always holds: at least one secret per
token, the current one first.
"""

import attrs

from restbroker.config.secret import Secret


@attrs.frozen
class Token:
    """One named token. `secrets`: the current one, and the previous one during a rotation.

    `allow`: commands as names with wildcards, and `dangerous:NAME` for those that touch the server itself; "*" never
    includes these. `hosts`: virtual hosts that its jobs may name, `targets` and `queues`: where they may be, all with
    wildcards; empty for any. `signed`: jobs carry a signature made with the secret instead of the secret
    (`queue_signed`: one that covers the queue); it may be `window_s` seconds old when a broker first sees it.
    `flat`: it is the `Token` that the Go original reads too, so its jobs stay as that understands them.
    """

    name: str
    secrets: tuple[Secret, ...]
    allow: tuple[str, ...] = ("*",)
    hosts: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    signed: bool = False
    queue_signed: bool = False
    window_s: float = 7 * 86_400.0
    flat: bool = False
