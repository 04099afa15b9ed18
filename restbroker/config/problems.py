"""What is found while a configuration is read and judged: problems, which end it, and notes.

One is made by `config.load` and passed to whoever reads or judges a part. Always holds: a place is named as the
operator wrote it (a variable by its own name), and no secret's value is in a problem or a note, nor the login of an
address, in whichever key it was written.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import TypeVar

import attrs

from restbroker.config.key import NO_KINDS, Members
from restbroker.config.secret import Secret
from restbroker.config.values import is_plain, without_logins, words_without_logins
from restbroker.errors import ConfigError

T = TypeVar("T")


@attrs.frozen
class Notice:
    """Something the operator should know about the configuration; it is used all the same."""

    code: str
    message: str
    cure: str | None = None


@attrs.frozen
class _Origin:
    """A variable or flag, and a variable's text."""

    name: str
    text: str | None


@attrs.define(eq=False)
class Problems:
    """`base`: where relative files are looked for. `environ`: the variables that a secret may be in. `kinds` and
    `sources`: the class of options of each kind.
    """

    base: Path = attrs.field(factory=Path)
    environ: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    kinds: Mapping[str, Members] = NO_KINDS
    sources: Mapping[str, Members] = NO_KINDS
    _origins: dict[str, _Origin] = attrs.field(factory=dict)
    problems: list[str] = attrs.field(factory=list)
    wrong: set[str] = attrs.field(factory=set)
    """Places whose value is missing, cannot be used, or is said twice; a secret and the file of it are one."""
    misnamed: set[str] = attrs.field(factory=set)
    """Objects in which a name is none that may be chosen."""
    notes: list[Notice] = attrs.field(factory=list)

    def refuse(self, place: str, text: str, *others: str) -> None:
        """Adds a problem: what is wrong at `place`, e.g. `Targets.a.Queues[1]`, and what is wanted.

        `others`: what else it was judged by. Where any of these is wrong already, nothing is said, since that would go
        with the mistake that was told: it only follows from it, or nobody can know.
        """
        if not self.is_wrong(place, *others):
            self.tell(place, text)
            self.leave_out(place)

    def tell(self, place: str, text: str) -> None:
        """The same of what can be judged whatever else is wrong there, and keeps nothing else from being judged."""
        self.problems.append(words_without_logins(f"{self.as_written(place)}: {text}"))

    def leave_out(self, place: str) -> None:
        """What is there is not judged any more."""
        self.wrong.add(place.removesuffix("File"))

    def is_wrong(self, *places: str) -> bool:
        """Whether what is at one of these places is wrong, or something in it, or what it is in."""
        return any(_is_in(wrong, place) or _is_in(place, wrong) for wrong in self.wrong for place in places)

    def elements(self, place: str, read: Iterable[T]) -> Iterator[tuple[str, T]]:
        """Those elements of a list that could be read, each with its place."""
        places = (where for number in count() if (where := f"{place}[{number}]") not in self.wrong)
        return zip(places, read, strict=False)

    def note(self, code: str, message: str, cure: str | None = None) -> None:
        """Adds something that the operator should know and that stops nothing."""
        self.notes.append(
            Notice(code, words_without_logins(message), None if cure is None else words_without_logins(cure))
        )

    def as_written(self, place: str) -> str:
        """The place as the operator wrote it: what no variable or flag has set is named by its path in the file."""
        for end in range(len(place), 0, -1):
            origin = self._origins.get(place[:end].lower())
            if origin is not None and place[end : end + 1] in ("", ".", "["):
                return origin.name + place[end:]
        return place

    def set_by(self, place: str, name: str, text: str | None = None) -> None:
        """Remembers that a variable, with its text, or a flag has set this place, whatever the case of its members."""
        self._origins[place.lower()] = _Origin(name, text)

    def is_set(self, place: str) -> bool:
        """Whether a variable or flag has set exactly this place."""
        return place.lower() in self._origins

    def text_of(self, place: str) -> str | None:
        """The text of the variable that has set exactly this place."""
        origin = self._origins.get(place.lower())
        return None if origin is None else origin.text

    def setters(self, key: str) -> list[str]:
        """The variables and flags that have set this key or parts of it."""
        places = (key.lower(), f"{key.lower()}.")
        return [
            origin.name for place, origin in self._origins.items() if place == places[0] or place.startswith(places[1])
        ]

    def try_secret(self, place: str, written: Secret | None) -> Secret | None:
        """A secret as it was written at `place`, tried once; None where there is none, or it cannot be used."""
        if written is None or written.path is None:
            return written
        secret = Secret(path=self.base / written.path)
        try:
            text = secret.reveal()
        except ConfigError as error:
            self.refuse(f"{place}File", error.message)
            return None
        if not text.strip() or not is_plain(text):
            self.refuse(f"{place}File", f"{without_logins(str(secret.path))} must hold one line that is not empty.")
            return None
        return secret


def at(place: str, part: str) -> str:
    """The place of a part: a member, or `[1]` for an element."""
    if not place or not part or part.startswith("["):
        return place + part
    return f"{place}.{part}"


def _is_in(place: str, whole: str) -> bool:
    place, whole = place.removesuffix("File"), whole.removesuffix("File")
    return place.startswith(whole) and place[len(whole) : len(whole) + 1] in ("", ".", "[")


def printable_name(name: str) -> str:
    """A name from a file, safe to print."""
    text = without_logins("".join(c if c.isprintable() else "?" for c in name))
    return text if len(text) <= 60 else text[:59] + "…"
