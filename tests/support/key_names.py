"""Every key that the store can make, by its own methods. Used by tests that claim something of all keys."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Final, get_args

from restbroker.store.keys import RedisKeys, SortedSet, StatKind

WORDS: Final[Mapping[str, object]] = {
    "identity": "IDENTITY", "target": "TARGET", "queue": "NAME", "process_id": "PROCESSID", "command": "COMMAND",
    "user": "USER", "date": "2026-01-31", "at_s": 1_795_165_609, "process": "HOST:PID:NONCE", "other": "NAME",
    "source": "SOURCE", "batch": "BATCH", "room": "ROOM", "jid": "JID",
}  # fmt: skip
"""As docs/keys.md names what differs. `process`: the names of processes; `other`: whatever else has a name."""
_NAMED: Final = {"process", "work", "workers", "signals"}


def all_keys(words: Mapping[str, object] = WORDS) -> Iterator[str]:
    keys = RedisKeys()
    for name, found in inspect.getmembers(keys):
        if name.startswith("_") or name in {"namespace", "queue_of", "expected_type"}:
            continue
        if isinstance(found, str):
            yield found
        else:
            yield from (found(**given) for given in _arguments(name, found, words))


def _arguments(method: str, found: object, words: Mapping[str, object]) -> Iterator[dict[str, object]]:
    assert callable(found)
    wanted = list(inspect.signature(found).parameters)
    several: dict[str, tuple[object, ...]] = {
        "sorted_set": get_args(SortedSet),
        "queue": (words["queue"],),
        "reply": (f"restbroker:reply:{words['other']}",),
    }
    names = several.get(method, (words["process"] if method in _NAMED else words["other"],))
    for name in names:
        for kind in get_args(StatKind) if "kind" in wanted else ("",):
            yield {word: kind if word == "kind" else words.get(word, name) for word in wanted}
