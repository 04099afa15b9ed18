"""What is found while a configuration is read and checked: problems, which make it unusable, and notes.

`config.load` makes one `Problems` and passes it to everything that reads or checks a part. Always holds: a place is
named as the operator wrote it (a variable by its own name), and no problem or note holds the value of a secret or the
login of an address, in whichever key it was written.
"""

import errno
import os
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
    hint: str | None = None


@attrs.frozen
class _Origin:
    """The name of the variable or flag that set a place, and a variable's text (None: a flag)."""

    name: str
    text: str | None


@attrs.define(eq=False)
class Problems:
    """The problems and notes found so far, and what is needed to find more.

    `base` is the directory to which relative paths of files belong. `environ` has the variables that a secret may be
    in. `kinds` and `sources` have the class of options of each kind.
    """

    base: Path = attrs.field(factory=Path)
    environ: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    kinds: Mapping[str, Members] = NO_KINDS
    sources: Mapping[str, Members] = NO_KINDS
    _origins: dict[str, _Origin] = attrs.field(factory=dict)
    problems: list[str] = attrs.field(factory=list)
    wrong: set[str] = attrs.field(factory=set)
    """Places whose value is missing, unusable or said twice; a secret and the key for its file are one place."""
    misnamed: set[str] = attrs.field(factory=set)
    """Places of objects in which a member has a name that is not allowed."""
    notes: list[Notice] = attrs.field(factory=list)
    of_secret_files: int = 0
    """How many problems are of files with secrets, of which no description of the keys says more."""

    def refuse(self, place: str, text: str, *others: str) -> None:
        """Add the problem `text` at `place`, e.g. `Targets.a.Queues[1]`, and leave the place out of further checks.

        `others` are further places that the judgement depends on. If any of these places is wrong already, add nothing:
        the new problem would only follow from the one that was reported, or cannot be known.
        """
        if not self.is_wrong(place, *others):
            self.add(place, text)
            self.leave_out(place)

    def add(self, place: str, text: str) -> None:
        """Add the problem `text` at `place`, whatever else is wrong there, and let other checks of the place go on."""
        self.problems.append(words_without_logins(f"{self.as_written(place)}: {text}"))

    def leave_out(self, place: str) -> None:
        """Mark a place as wrong, so that it is not checked any more."""
        self.wrong.add(place.removesuffix("File"))

    def is_wrong(self, *places: str) -> bool:
        """Tell whether anything is wrong at one of these places, in a part of it, or in an object that contains it."""
        return any(_is_in(wrong, place) or _is_in(place, wrong) for wrong in self.wrong for place in places)

    def elements(self, place: str, read: Iterable[T]) -> Iterator[tuple[str, T]]:
        """Yield (place, element) for each element of the list at `place`; `read` lacks those that could not be read."""
        places = (where for number in count() if (where := f"{place}[{number}]") not in self.wrong)
        return zip(places, read, strict=False)

    def note(self, code: str, message: str, hint: str | None = None) -> None:
        """Add a note that the operator should see; the configuration can be used nevertheless."""
        self.notes.append(
            Notice(code, words_without_logins(message), None if hint is None else words_without_logins(hint))
        )

    def as_written(self, place: str) -> str:
        """Return the place as the operator wrote it: the variable or flag that set it, or its path in the file."""
        for end in range(len(place), 0, -1):
            origin = self._origins.get(place[:end].lower())
            if origin is not None and place[end : end + 1] in ("", ".", "["):
                return origin.name + place[end:]
        return place

    def record_setter(self, place: str, name: str, text: str | None = None) -> None:
        """Record that a variable, with its text, or a flag has set this place; case does not matter in `place`."""
        self._origins[place.lower()] = _Origin(name, text)

    def is_set(self, place: str) -> bool:
        """Tell whether a variable or flag has set exactly this place."""
        return place.lower() in self._origins

    def text_of(self, place: str) -> str | None:
        """Return the text of the variable that has set exactly this place; None if there is none."""
        origin = self._origins.get(place.lower())
        return None if origin is None else origin.text

    def setters(self, key: str) -> list[str]:
        """Return the names of the variables and flags that have set this key or parts of it."""
        places = (key.lower(), f"{key.lower()}.")
        return [
            origin.name for place, origin in self._origins.items() if place == places[0] or place.startswith(places[1])
        ]

    def try_secret(self, place: str, written: Secret | None, *, maker: str = "") -> Secret | None:
        """Return the secret that was written at `place`, with its file found and read once; None without a usable one.

        A file that cannot be used becomes a problem. `maker`: the command that makes such a file, if there is one.
        """
        if written is None or written.path is None:
            return written
        secret = Secret(path=self.base / written.path)
        try:
            text = secret.reveal()
        except ConfigError as error:
            is_missing = os.strerror(errno.ENOENT) in error.message
            hint = f"`{maker}` makes one." if maker and is_missing else error.hint
            self._refuse_file(f"{place}File", f"{error.message} {hint or ''}".rstrip())
            return None
        if not text.strip() or not is_plain(text):
            self._refuse_file(
                f"{place}File", f"{without_logins(str(secret.path))} must hold one line that is not empty."
            )
            return None
        return secret

    def _refuse_file(self, place: str, text: str) -> None:
        self.of_secret_files += not self.is_wrong(place)
        self.refuse(place, text)


def at(place: str, part: str) -> str:
    """Return the place of a part of `place`: of a member by its name, or of an element by `[1]`."""
    if not place or not part or part.startswith("["):
        return place + part
    return f"{place}.{part}"


def _is_in(place: str, whole: str) -> bool:
    place, whole = place.removesuffix("File"), whole.removesuffix("File")
    return place.startswith(whole) and place[len(whole) : len(whole) + 1] in ("", ".", "[")


def printable_name(name: str) -> str:
    """Return a name from a file so that it is safe to print: without logins, and cut to 60 characters."""
    text = without_logins("".join(c if c.isprintable() else "?" for c in name))
    return text if len(text) <= 60 else text[:59] + "…"
