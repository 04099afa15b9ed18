"""The keys inside of `Roster`, described like those of the file itself.

`config.reader` makes instances of these classes, `config.build_roster` judges them. Always holds: as in
`config.objects`.
"""

import attrs

from restbroker.config import forms
from restbroker.config.key import key
from restbroker.config.objects import BasicKeys


@attrs.frozen(kw_only=True)
class QueryKeyKeys:
    """A key in the query."""

    value: str | None = key("Value", "The key.", secret=True, mandatory="or ValueFile")
    value_file: str | None = key("ValueFile", "A file that holds the key.", instead_of=("Value",))


@attrs.frozen(kw_only=True)
class RosterAuthKeys:
    """One way for Prosody to log in."""

    basic: BasicKeys | None = key("Basic", "User and password: http://USER:PASS@… in Prosody.", secret=True)
    key: QueryKeyKeys | None = key(
        "Key", "A key at the end of the address: …?key=KEY in Prosody.", secret=True, instead_of=("Basic",)
    )


@attrs.frozen(kw_only=True)
class RosterKeys:
    """The section `Roster`."""

    listen: forms.Bind = key(
        "Listen",
        "Where rosters are served; without Auth, a loopback address. Port 0 takes any free one.",
        ("127.0.0.1", 8082),
        shown="127.0.0.1:8082",
    )
    path: forms.UserPath = key(
        "Path", "Under which path; {user} stands for the user, at the end where it is left out.", "/roster/{user}"
    )
    serve: bool = key("Serve", "`restbroker run` serves them as well; else only `restbroker roster serve` does.", True)
    domain: str | None = key(
        "Domain",
        "Whose users these are: user@Domain means the same as user, and is nobody's contact of himself. Without it, the"
        " Domain of Target.",
    )
    target: str | None = key(
        "Target", "The target of kind prosody-roster that tells Prosody of changes. Without it rosters are only served."
    )
    auth: RosterAuthKeys | None = key("Auth", "How Prosody logs in: exactly one of its members.", secret=True)
