"""Which signed jobs were done. Written by `finish.lua`, in the step that settles them; read by `delivery.replays`.

Always holds: a job that is remembered was done; one that is not was not done, or was forgotten.
"""

from collections.abc import Sequence

from restbroker.job.settlement import Fingerprint
from restbroker.store.client import Client


def are_done(client: Client, fingerprints: Sequence[Fingerprint]) -> list[bool]:
    """Tell for each fingerprint whether its job was done. Raise `StoreUnavailable` or `StoreRefused`."""
    found = client.commands([("ZSCORE", client.keys.done_jobs(one.queue), one.text) for one in fingerprints])
    return [score is not None for score in found]
