"""Administration of accounts by ad-hoc commands (XEP-0133): the commands, their forms, and which nodes are dangerous.

For every kind that can send such a command (XEP-0050): its table has a row for each of `COMMANDS`, its request calls
`form`, and the specification of a command that sends any stanza has `dangerous_in`. Always holds: pure; nothing here
depends on how a command is sent. The nodes are those that mod_admin_adhoc of Prosody 0.12.3 and 13.0.1 offers; it has
none of XEP-0133's lists and numbers of registered users (measured).
"""

import html
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from restbroker.job.command import Repeat
from restbroker.job.json_types import Json
from restbroker.light import frozen
from restbroker.servers.api.jid import is_jid
from restbroker.servers.api.table import FLAG, TEXT, ArgumentForm, Arguments, InvalidArguments, rows_of
from restbroker.servers.api.texts import read_toml

ADMIN: Final = "http://jabber.org/protocol/admin"
"""The namespace of XEP-0133: nodes begin with it, and forms have it as their type."""
_NODE: Final = re.compile(
    r"http://jabber\.org/protocol/(admin)#([\w-]+)|http://prosody\.im/protocol/(\w+)#([\w-]+)", re.ASCII
)


def _is_local(value: Json) -> bool:
    return isinstance(value, str) and not {"@", "/"} & set(value) and is_jid(f"{value}@a")


def _is_host(value: Json) -> bool:
    return isinstance(value, str) and not {"@", "/"} & set(value) and is_jid(value)


_USER: Final = ArgumentForm("the name of an account, without its host", _is_local, host_source="name")
_HOST: Final = ArgumentForm("a host such as example.org", _is_host, host_source="host")
_PASSWORD: Final = ArgumentForm(
    "a password of at least one character", lambda value: isinstance(value, str) and bool(value), nonempty=True
)
_FORMS: Final[Mapping[str, ArgumentForm]] = {
    "": TEXT,
    "flag": FLAG,
    "host": _HOST,
    "password": _PASSWORD,
    "user": _USER,
}


@frozen(eq=False, repr=False)
class AdHoc:
    """One ad-hoc command; `node` is the part of its node behind `ADMIN` and `#`.

    `fields`: field of its form → the argument that it is. `account`: the field that names the account, as a list if
    that is `accountjids`; "" if the command is about a host. `constants`: fields that are always the same. `since`: the
    version of Prosody that brought it.
    """

    name: str
    node: str
    takes: Arguments
    repeat: Repeat
    account: str = ""
    fields: Mapping[str, str] = MappingProxyType({})
    constants: Mapping[str, Json] = MappingProxyType({})
    since: str | None = None

    def form(self, given: Mapping[str, Json], host: str) -> dict[str, Json]:
        """Return the fields of the command's form, for arguments that fit; raise `InvalidArguments` without a JID."""
        fields = {field: _text(given[name]) for field, name in self.fields.items() if name in given}
        return {"FORM_TYPE": ADMIN, **self._address_fields(given, host), **self.constants, **fields}

    def _address_fields(self, given: Mapping[str, Json], host: str) -> dict[str, Json]:
        if not self.account:
            return {}
        resource = given.get("resource")
        jid = f"{given['user']}@{host}" + (f"/{resource}" if resource is not None else "")
        if not is_jid(jid):
            raise InvalidArguments("the arguments make no JID")
        return {self.account: [jid] if self.account == "accountjids" else jid}


def _text(value: Json) -> Json:
    # What a form calls a boolean (XEP-0004).
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


COMMANDS: Final = tuple(
    AdHoc(name, takes=Arguments(rows_of(row.pop("takes"), _FORMS)), **row)
    for name, row in read_toml(__file__, "ad_hoc.toml").items()
)
"""All commands, named as ejabberd names the same, where it has it."""


def dangerous_in(arguments: Mapping[str, Json]) -> Mapping[str, frozenset[str]]:
    """Return the administration nodes that a stanza names anywhere, in JSON or XML, with what each touches.

    For example `{"admin-shutdown": frozenset({"server"})}`: the server itself, or its code.
    """
    found = {}
    for text in _texts(arguments):
        for match in _NODE.finditer(html.unescape(text)):
            space, name = filter(None, match.groups())
            found[f"{space}-{name}"] = frozenset({"code" if space == "modules" else "server"})
    return found


def _texts(value: Json | Mapping[str, Json]) -> list[str]:
    texts, remaining = list[str](), list[object]([value])
    while remaining:
        match remaining.pop():
            case str(text):
                texts.append(text)
            case dict() as one:
                remaining.extend((*one, *one.values()))
            case list() as one:
                remaining.extend(one)
            case _:
                pass
    return texts
