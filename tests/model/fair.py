"""Lines of a queue in plain Python: what `parts/lines.lua` means. Used by `dataset` and `reference`.

A job that someone deleted by hand leaves None in its line until it is passed over.
"""

import json
from collections import defaultdict

import attrs

WHOLE_COST = 25_200
MOST_LOOKED_AT, LEAST_LOOKED_AT = 200, 20


def key_of(raw: bytes, limit_bytes: int) -> str:
    """The key of a job whose own member is its key."""
    if len(raw) > limit_bytes:
        return ""
    try:
        found = json.loads(raw)
    except ValueError:
        return ""
    key = found.get("fair_key") if isinstance(found, dict) else None
    return key if isinstance(key, str) else ""


def cost_of(fairness: str, key: str) -> int:
    """What a job of this key costs in virtual time."""
    weights: dict[str, int] = json.loads(fairness or "{}").get("weights", {})
    return round(WHOLE_COST / weights.get(key, 1))


@attrs.define
class Lines:
    """The lines of a queue: jobs by key, the first to be taken first; virtual finish times; virtual time."""

    jobs: dict[str, list[bytes | None]] = attrs.field(factory=lambda: defaultdict(list))
    turns: dict[str, int] = attrs.field(factory=dict)
    time: int = 0
    restarts: int = attrs.field(default=0, eq=False)
    """How often virtual time began again."""

    def all_jobs(self) -> list[bytes]:
        """The jobs of all lines."""
        return [raw for line in self.jobs.values() for raw in line if raw is not None]

    def append(self, raw: bytes, fairness: str, limit_bytes: int) -> None:
        """Puts a job at the end of its key's line."""
        key = key_of(raw, limit_bytes)
        if key not in self.jobs:
            self.turns[key] = self.time + cost_of(fairness, key)
        self.jobs[key].append(raw)

    def put_first(self, raw: bytes, fairness: str) -> None:
        """Puts a job that comes back before its key's line."""
        key = key_of(raw, 1024 * 1024)
        self.turns.setdefault(key, self.time + cost_of(fairness, key))
        self.jobs[key].insert(0, raw)

    def next_key(self) -> str | None:
        """The key whose turn it is."""
        return min(self.turns, key=lambda key: (self.turns[key], key.encode()), default=None)

    def pass_first(self, key: str, fairness: str) -> None:
        """The first of this line had its turn."""
        self.jobs[key].pop(0)
        self.time = max(self.time, self.turns[key])
        self.turns[key] += cost_of(fairness, key)
        if not self.jobs[key]:
            self.drop(key)

    def take(self, key: str, place: int, new: bytes | None) -> None:
        """Puts another job in this place, or none: what is missing at the ends then costs no turn."""
        line = self.jobs[key]
        line[place] = new
        if new is not None:
            return
        while line and line[0] is None:
            line.pop(0)
        while line and line[-1] is None:
            line.pop()
        if not line:
            self.drop(key)

    def drop(self, key: str) -> None:
        """This line is gone; with the last one virtual time begins again."""
        del self.jobs[key]
        self.turns.pop(key, None)
        if not self.turns:
            self.restart()

    def restart(self) -> None:
        """Virtual time begins again."""
        self.time, self.restarts = 0, self.restarts + 1
