"""Writes a message with an `id` of its job's own as a stanza: `sendMessage` makes up another id for each sending.

Called by `request`. Always holds: pure; the stanza is what MongooseIM makes of such a message (read in 6.0.0, 6.8.0),
except for the `id`; the answer has the place and form of the operation's own.
"""

from collections.abc import Mapping
from xml.etree import ElementTree as ET

from restbroker.config.target import Basic, Target
from restbroker.job.jid import fold_case
from restbroker.job.json_types import Json
from restbroker.servers.api.arguments import InvalidArguments
from restbroker.servers.api.texts import NO_XML, fits_xml
from restbroker.servers.mongooseim import command_attributes
from restbroker.servers.mongooseim.schema import Operation


def document(operation: Operation) -> str:
    """Return the GraphQL document that sends a stanza (the variable `stanza`) and answers as this operation would."""
    category, name = operation.path
    sent = command_attributes.STANZA.partition(".")[2]
    return f"mutation($stanza:XmlElement){{{category}{{{name}:{sent}(stanza:$stanza){{id}}}}}}"


def stanza_of(operation: Operation, given: Mapping[str, Json], target: Target) -> str:
    """Return the stanza of a message with these arguments.

    Raise `InvalidArguments` for what MongooseIM would refuse in `sendMessage`, but not in a stanza.
    """
    _require_texts(given)
    sender = given.get("from") or (target.credentials.user if isinstance(target.credentials, Basic) else "")
    ends = {"from": _prepare(str(sender)), "to": _prepare(str(given["to"]))}
    message = ET.Element("message", {"type": command_attributes.TYPES[operation.name], **ends, "id": str(given["id"])})
    for name in ("subject", "body"):
        if name in given:
            ET.SubElement(message, name).text = str(given[name])
    return ET.tostring(message, "unicode")


def _require_texts(given: Mapping[str, Json]) -> None:
    for name, value in given.items():
        if not isinstance(value, str) or (name == "id" and not value):
            raise InvalidArguments(f'the argument "{name}" must be a string, and an id not empty')
        if not fits_xml(value):
            raise InvalidArguments(f'the argument "{name}" has {NO_XML}')
        if name in ("from", "to") and "@" not in value.partition("/")[0]:
            raise InvalidArguments(f'the argument "{name}" is not a JID such as alice@example.org')


def _prepare(jid: str) -> str:
    """Return the JID with its bare part folded, as MongooseIM writes it: JIDs in a stanza it leaves as they are."""
    bare, slash, resource = jid.partition("/")
    return fold_case(bare) + slash + resource
