"""Which signed jobs were done. `finish.lua` writes it, in the step that settles them so; `delivery.replays` asks.

Always holds: what is not remembered was not done, or was forgotten; never the other way round.
"""

from collections.abc import Sequence

from restbroker.job.settlement import Fingerprint
from restbroker.store.client import Client


def done(client: Client, fingerprints: Sequence[Fingerprint]) -> list[bool]:
    """Whether the job of each of these was done. Raises `StoreUnavailable` or `StoreRefused`."""
    found = client.commands([("ZSCORE", client.keys.done(one.queue), one.text) for one in fingerprints])
    return [score is not None for score in found]
