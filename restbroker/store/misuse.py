"""Finds the key of a wrong type behind an error of Redis, and a hint. Used by `store.client`, and by `check`.

Redis' error does not name the key, and for a script not even the type that it needs. Always holds: only the types of
the command's keys are read, and nothing is changed.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import attrs

from restbroker.errors import RestbrokerError
from restbroker.store.client import Argument, Reply, text
from restbroker.store.keys import Keys

_WORDS: Final = {"zset": "sorted set"}
_KEYS_BEHIND: Final = 3
"""The words of a command before a script's keys: EVALSHA, the script's digest, how many keys."""


@attrs.frozen
class MisusedKey:
    """A key of `actual_type` (Redis' word) where `expected_type` is needed. None: not known."""

    key: str
    expected_type: str | None
    actual_type: str | None

    @property
    def message(self) -> str:
        """What is wrong, as a sentence without its full stop."""
        actual, expected = self.actual_type, self.expected_type
        found = "of another type" if actual is None else f"a {_WORDS.get(actual, actual)}"
        if expected is None:
            return f"The key {self.key} is {found}, but restbroker needs another type there"
        return f"The key {self.key} is {found}, but restbroker needs a {_WORDS.get(expected, expected)}"

    @property
    def hint(self) -> str:
        """What to do about it."""
        return f"Find out who writes it. Then move it away: RENAME {self.key} {self.key}:misplaced"


def find_misused_keys(
    command: Sequence[Argument], keys: Keys, ask: Callable[[Sequence[Sequence[Argument]]], list[Reply]] | None
) -> Sequence[MisusedKey]:
    """Return the keys that made Redis refuse this command because they are of another type, as far as is known.

    `ask` sends commands and returns their replies; None: the types are not read, and only a command's sole key is
    returned.
    """
    touched = keys_of(command)
    found: list[str | None] = [None] * len(touched)
    if ask is not None:
        # It is told without, if need be.
        with suppress(RestbrokerError):
            found = [text(reply) for reply in ask([("TYPE", key) for key in touched])]
    names = [text(key) if isinstance(key, bytes) else str(key) for key in touched]
    each = [MisusedKey(name, keys.expected_type(name), kind) for name, kind in zip(names, found, strict=True)]
    # The only key of a command is the one that was refused; of several, those that are known to be wrong.
    if len(each) == 1 and each[0].actual_type != "none":
        return each
    return [one for one in each if one.actual_type not in {None, "none", one.expected_type} and one.expected_type]


def keys_of(command: Sequence[Argument]) -> Sequence[Argument]:
    """Return the keys that a command touches: the word behind its name, or the keys of a script."""
    if command and command[0] == "EVALSHA":
        return command[_KEYS_BEHIND : _KEYS_BEHIND + int(command[_KEYS_BEHIND - 1])]
    return command[1:2]
