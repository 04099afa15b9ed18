"""Which signed jobs were done. Written by `finish.lua` when it settles them; read by `broker.redis_checks`.

Always holds: a job that is listed was done; one that is not was not done, or its record has expired.
"""

from collections.abc import Sequence

from restbroker.job.settlement import Fingerprint
from restbroker.store.client import Client


def are_done(client: Client, fingerprints: Sequence[Fingerprint]) -> list[bool]:
    """Tell for each fingerprint whether its job was done. Raise `StoreUnavailable` or `StoreRefused`."""
    found = client.commands([("ZSCORE", client.keys.done_jobs(one.queue), one.text) for one in fingerprints])
    return [score is not None for score in found]
