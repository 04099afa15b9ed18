"""The key of a job inside a queue that is served fairly, and what a target says about such keys.

Used by `config` for what is written, by `app` and by the store, whose scripts find the same key. Always holds: each job
has a key, "" if it has none of its own; no key is longer than 256 bytes for each name, or has control characters except
the one between two names.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from restbroker.light import frozen

FAIR_KEY: Final = "fair_key"
"""Where `FairBy` finds the key of a job: in its own member of this name."""
BETWEEN: Final = "\x1f"
"""Between the values of several names."""
BEFORE_ORDER: Final = "\x1e"
"""Between the fair key, which takes turns, and the order key, whose jobs are done in order; no other key has it."""
LONGEST_KEY_BYTES: Final = 256
HEAVIEST: Final = 100
WHOLE_COST: Final = 25_200
"""How far a job of a key of weight 1 moves its virtual time on: most weights divide it."""
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_CAPITALS: Final = re.compile(r"[A-Z]+")


@frozen
class Fairness:
    """How the jobs of a target's queues take turns: by the arguments of these names, or by their member `FAIR_KEY`.

    `names` is empty for the latter. `default_host` stands for a missing argument `host`. `weights`: the shares of some
    keys, in place of 1.
    """

    names: tuple[str, ...] = ()
    default_host: str | None = None
    weights: Mapping[str, int] = MappingProxyType({})

    def weight(self, key: str) -> int:
        """Return the weight of a key, as the store's scripts know it."""
        return next((weight for name, weight in self.weights.items() if fold(name) == key), 1)


def is_key(text: str) -> bool:
    """Tell whether this is a key that a job may have: 1 to 256 bytes without control characters."""
    return 1 <= len(text.encode(errors="replace")) <= LONGEST_KEY_BYTES and _CONTROLS.search(text) is None


def cost_of(weight: int) -> int:
    """Return how far a job of a key of this weight moves the virtual time of its key on."""
    return int(WHOLE_COST / weight + 0.5)


def fold(key: str) -> str:
    """Return a key as keys are compared: capitals of ASCII count as small letters."""
    return _CAPITALS.sub(lambda found: found[0].lower(), key)
