"""What is found while a configuration is read and checked: problems, which make it unusable, and notes.

`config.load` makes one `Problems` and passes it to everything that reads or checks a part. Always holds: a place is
named as the operator wrote it (a variable by its own name), and no problem or note holds the value of a secret or the
login of an address, in whichever key it was written.
"""

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from restbroker.config.key import NO_KINDS, Members
from restbroker.config.secret import NO_SECRET, Secret
from restbroker.config.values import is_plain, without_logins, words_without_logins
from restbroker.errors import ConfigError
from restbroker.light import define, field, frozen

_TOP: Final = re.compile(r"^[^.\[]+")
"""The key of the file at the beginning of a place."""


@frozen
class Notice:
    """Something the operator should know about the configuration; it is used all the same."""

    code: str
    message: str
    hint: str | None = None


@define(eq=False)
class Problems:
    """The problems and notes found so far, and what is needed to find more.

    `base` is the directory to which relative paths of files belong. `environ` has the variables that a secret may be
    in. `kinds` and `sources` have the class of options of each kind.
    """

    base: Path = field(factory=Path)
    environ: Mapping[str, str] = field(factory=dict, repr=False)
    kinds: Mapping[str, Members] = NO_KINDS
    sources: Mapping[str, Members] = NO_KINDS
    setters: dict[str, str] = field(factory=dict)
    """The name of the variable or flag that has set a key of the file, by key."""
    _by_place: dict[str, str] = field(factory=dict)
    notes: list[Notice] = field(factory=list)

    @property
    def problems(self) -> list[str]:
        """What makes the configuration unusable, with its places."""
        return list(self._by_place.values())

    def refuse(self, place: str, text: str) -> None:
        """Add the problem `text` at `place`, e.g. `Targets.a.Queues[1]`; the first one of a place counts.

        A secret and the key for its file are one place: one whose file cannot be read is not missing as well.
        """
        self._by_place.setdefault(place.removesuffix("File"), words_without_logins(f"{self.as_written(place)}: {text}"))

    def note(self, code: str, message: str, hint: str | None = None) -> None:
        """Add a note that the operator should see; the configuration can be used nevertheless."""
        self.notes.append(
            Notice(code, words_without_logins(message), None if hint is None else words_without_logins(hint))
        )

    def as_written(self, place: str) -> str:
        """Return the place as the operator wrote it: behind the variable or flag that set its key, if one did."""
        return _TOP.sub(lambda key: self.setters.get(key[0], key[0]), place, count=1)

    def try_secret(self, place: str, written: Secret | None, *, maker: str = "", missing: str = "") -> Secret | None:
        """Return the secret that was written at `place`, with its file found and read once; None without a usable one.

        A file that cannot be used becomes a problem. `maker`: the command that makes such a file, if there is one.
        `missing`: there must be one, and this says what for.
        """
        if missing and written in (None, NO_SECRET):
            self.refuse(place, f"is missing or empty; {missing}.")
            return None
        if written is None or written.path is None:
            return written
        secret = Secret(path=self.base / written.path)
        try:
            text = secret.reveal()
        except ConfigError as error:
            is_missing = os.strerror(errno.ENOENT) in error.message
            hint = f"`{maker}` makes one." if maker and is_missing else error.hint
            self.refuse(f"{place}File", f"{error.message} {hint or ''}".rstrip())
            return None
        if not text.strip() or not is_plain(text):
            self.refuse(f"{place}File", f"{without_logins(str(secret.path))} must hold one line that is not empty.")
            return None
        return secret


def at(place: str, part: str) -> str:
    """Return the place of a part of `place`: of a member by its name, or of an element by `[1]`."""
    if not place or not part or part.startswith("["):
        return place + part
    return f"{place}.{part}"


def printable_name(name: str) -> str:
    """Return a name from a file so that it is safe to print: without logins, and cut to 60 characters."""
    text = without_logins("".join(c if c.isprintable() else "?" for c in name))
    return text if len(text) <= 60 else text[:59] + "…"
