"""Which signed jobs were done. Written by `finish.lua` when it settles them; read by `broker.redis_checks`.

Always holds: a job that is listed as done was done, whichever queue it came from; one that is not was not done, or its
record has expired. A token has two sets for each queue: `first` for what is done at its first try, `stored` for what
was once stored with a mark of acceptance, and is therefore known for as long as that is good.
"""

import math
from collections.abc import Sequence

from restbroker.job.settlement import Fingerprint
from restbroker.store.client import Client, microseconds, names, number, pair
from restbroker.store.settling import fingerprint_members


def stored_for_s(client: Client, fingerprints: Sequence[Fingerprint]) -> list[float]:
    """Return for how many seconds a stored mark of each job's acceptance may still be good; 0: none is.

    Infinite: the job was done. Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys, tokens = client.keys, list(dict.fromkeys(one.token for one in fingerprints))
    *named, time = client.commands([*(("SMEMBERS", keys.done_sets(token)) for token in tokens), ("TIME",)])
    sets = {token: names(reply) for token, reply in zip(tokens, named, strict=True)}
    asked = [(place, keys.done_jobs(one.token, n)) for place, one in enumerate(fingerprints) for n in sets[one.token]]
    calls = [("ZMSCORE", key, *fingerprint_members(fingerprints[place])) for place, key in asked]
    answers = [0.0] * len(fingerprints)
    for (place, _), reply in zip(asked, client.commands(calls), strict=True):
        done, stored = pair(reply)
        left_s = 0.0 if stored is None else (number(stored) - microseconds(time) / 1000) / 1000
        answers[place] = max(answers[place], left_s if done is None else math.inf)
    return answers
