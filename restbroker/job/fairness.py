"""The key of a job inside a queue that is served fairly, and what a target says about such keys.

Used by `config` for what is written, by `app` and by the store, whose scripts find the same key. Always holds: each job
has a key, "" if it has none of its own; no key is longer than 256 bytes for each name, or has control characters except
the one between two names.
"""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs

FAIR_KEY: Final = "fair_key"
"""Where `FairBy` finds the key of a job: in its own member of this name."""
BETWEEN: Final = "\x1f"
"""Between the values of several names."""
LONGEST_KEY_BYTES: Final = 256
HEAVIEST: Final = 100
_CAPITALS: Final = re.compile(r"[A-Z]+")


@attrs.frozen
class Fairness:
    """How the jobs of a target's queues take turns: by the arguments of these names, or by their member `FAIR_KEY`.

    `names` is empty for the latter. `default_host` stands for a missing argument `host`. `weights`: the shares of some
    keys, in place of 1.
    """

    names: tuple[str, ...] = ()
    default_host: str | None = None
    weights: Mapping[str, int] = MappingProxyType({})

    @property
    def text(self) -> str:
        """What the store's scripts read (JSON)."""
        said: dict[str, object] = {"by": list(self.names)} if self.names else {}
        if self.default_host is not None:
            said["host"] = self.default_host
        if self.weights:
            said["weights"] = {fold(name): weight for name, weight in self.weights.items()}
        return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def fold(key: str) -> str:
    """Return a key as keys are compared: capitals of ASCII count as small letters."""
    return _CAPITALS.sub(lambda found: found[0].lower(), key)
