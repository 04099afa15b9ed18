"""Looks whether the keys that restbroker works with are what they must be. Called by `admin.check_store`.

Always holds: nothing is written.
"""

from collections.abc import Iterator

from restbroker.config.core import Config
from restbroker.rules.findings import Finding
from restbroker.store.client import Client
from restbroker.store.key_types import misused

_WORDS = {"zset": "sorted set"}


def check_keys(client: Client, config: Config) -> Iterator[Finding]:
    """Keys of another type than needed: whatever touches them is refused by Redis."""
    queues = [queue for target in config.targets for queue in target.queues]
    for one in misused(client, [target.name for target in config.targets], queues):
        yield Finding(
            "problem",
            "redis",
            "WrongType",
            f"The key {one.key} is a {_word(one.found)}, and restbroker needs a {_word(one.wanted)}.",
            "Redis refuses whatever touches it: jobs are not taken, not settled or not counted.",
            f"Find out who writes it. Then put it out of the way: RENAME {one.key} {one.key}:misplaced",
        )


def _word(kind: str) -> str:
    return _WORDS.get(kind, kind)
