"""The bodies that the Chat API reads: those of the REST API plugin, of which it has a copy, and its own.

Its table makes arguments of them, and `request` writes them. Always holds: a body with lists or properties is written
as XML, which all generations of this interface read alike, while the oldest silently drops parts of the newer ones'
JSON (measured on the REST API plugin). Any other body is JSON, as the plugin's page shows it: without an outermost
element. A member of unknown type takes any scalar; names and texts are limited to those that Openfire accepts.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from restbroker.servers.api import table
from restbroker.servers.api.table import ANY, FLAG, WHOLE, Argument, Form, may, needs
from restbroker.servers.openfire.chat.forms import COMMAS, JID, QUOTED, SCALAR, TEXTS
from restbroker.servers.openfire.entities import AFFILIATIONS, ENTITIES, Entity
from restbroker.servers.openfire.forms import (
    ADDRESS,
    ADDRESSES,
    FILLED,
    GROUP,
    LONG,
    NAME,
    PROPERTIES,
    SHORT,
    SUBSCRIPTION,
    list_form,
)
from restbroker.servers.openfire.forms import JID as CONTACT

_FORMS: Final[Mapping[Form, Form]] = {
    CONTACT: JID,
    table.TEXTS: TEXTS,
    ADDRESSES: list_form(ADDRESS, TEXTS),
    **{form: form for form in (FLAG, PROPERTIES, SUBSCRIPTION, WHOLE)},
    **{
        form: SCALAR._replace(convert=form.convert, nonempty=form.nonempty)
        for form in (FILLED, GROUP, LONG, NAME, SHORT)
    },
}
_BY_AFFILIATION: Final = [name for one in AFFILIATIONS.values() for name in (f"{one}s", f"{one}Groups")]
"""The order of the plugin's page, which lists the groups of each affiliation of a room behind the people."""


def _copy(name: str) -> Entity:
    entity = ENTITIES[name]
    rows = [row._replace(form=_FORMS.get(row.form, SCALAR), aliases=()) for row in entity.members]
    if name == "MUCRoomEntity":
        rows.sort(key=lambda row: _BY_AFFILIATION.index(row.name) if row.name in _BY_AFFILIATION else -1)
    return entity._replace(members=tuple(rows))


def _json(*members: Argument) -> Entity:
    return Entity("", members)


def _scalars(names: str) -> tuple[Argument, ...]:
    """Return arguments that take any scalar; a `*` stands behind the names that a job must give."""
    return tuple(Argument(name.rstrip("*"), SCALAR, required=name.endswith("*")) for name in names.split())


BODIES: Final[Mapping[str, Entity]] = MappingProxyType(
    {
        "GroupEntity": _copy("GroupEntity"),
        "MUCRoomEntity": _copy("MUCRoomEntity"),
        "RosterItemEntity": _copy("RosterItemEntity"),
        "SystemProperty": _copy("SystemProperty"),
        "UserEntity": _copy("UserEntity"),
        "UserGroupsEntity": _copy("UserGroupsEntity"),
        "MessageEntity": _json(*_scalars("body*")),
        "AssistEntity": _json(
            Argument("userID", SCALAR, required=True, aliases=("from", "userId")),
            *_scalars("emailAddress* question* workgroup* nickname agent product company state country"),
        ),
        "WorkgroupEntity": _json(*_scalars("name* description*"), *needs(members=COMMAS)),
        "Bookmark": _json(
            *needs(type=SCALAR._replace(convert=QUOTED.convert)),
            *_scalars("name* value*"),
            *may(users=ANY, groups=TEXTS),
            *_scalars("global"),
            *may(properties=PROPERTIES),
        ),
        "SipAccount": _json(
            *_scalars("username* sipUsername authUsername displayName"),
            Argument("password", SCALAR, secret=True),
            *_scalars("server outboundproxy voiceMailNumber enabled"),
        ),
    }
)
