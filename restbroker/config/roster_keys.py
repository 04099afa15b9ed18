"""The keys inside of `Roster`, described like those of the file itself.

`config.reader` makes instances of these classes, `config.build_roster` judges them. Always holds: as in
`config.objects`.
"""
# ruff: noqa: RUF009  `key` is attrs.field with a key's facts, not a shared default

import attrs

from restbroker.config import forms, values
from restbroker.config.key import key
from restbroker.config.kinds import ObjectOf
from restbroker.config.objects import BasicKeys


@attrs.frozen(kw_only=True)
class QueryKeyKeys:
    """A key in the query."""

    value: str | None = key("Value", values.text(), "The key.", secret=True, mandatory="or ValueFile")
    value_file: str | None = key("ValueFile", values.text(), "A file that holds the key.", instead_of=("Value",))


@attrs.frozen(kw_only=True)
class RosterAuthKeys:
    """One way for Prosody to log in."""

    basic: BasicKeys | None = key(
        "Basic", ObjectOf("object", BasicKeys), "User and password: http://USER:PASS@… in Prosody.", secret=True
    )
    key: QueryKeyKeys | None = key(
        "Key",
        ObjectOf("object", QueryKeyKeys),
        "A key at the end of the address: …?key=KEY in Prosody.",
        secret=True,
        instead_of=("Basic",),
    )


@attrs.frozen(kw_only=True)
class RosterKeys:
    """The section `Roster`."""

    listen: tuple[str, int] = key(
        "Listen",
        values.bind(),
        "Where rosters are served; without Auth, a loopback address. Port 0 takes any free one.",
        ("127.0.0.1", 8082),
        shown="127.0.0.1:8082",
    )
    path: str = key(
        "Path",
        forms.user_path(),
        "Under which path; {user} stands for the user, at the end where it is left out.",
        "/roster/{user}",
    )
    serve: bool = key(
        "Serve",
        values.switch(),
        "`restbroker run` serves them as well; else only `restbroker roster serve` does.",
        True,
    )
    domain: str | None = key(
        "Domain",
        values.text(),
        "Whose users these are: user@Domain means the same as user, and is nobody's contact of himself. Without it, the"
        " Domain of Target.",
    )
    target: str | None = key(
        "Target",
        values.text(),
        "The target of kind prosody-roster that tells Prosody of changes. Without it rosters are only served.",
    )
    auth: RosterAuthKeys | None = key(
        "Auth", ObjectOf("object", RosterAuthKeys), "How Prosody logs in: exactly one of its members.", secret=True
    )
