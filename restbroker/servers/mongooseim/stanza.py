"""A message whose job gives it an `id`, as a stanza of its own: `sendMessage` makes up another id for each sending.

Called by `request`. Always holds: pure; the stanza is what MongooseIM makes of such a message (read in 6.0.0, 6.8.0),
but for the `id`; the answer has the place and form of the operation's own.
"""

from collections.abc import Mapping
from xml.etree import ElementTree as ET

from restbroker.config.target import Basic, Target
from restbroker.job.jid import fold_case
from restbroker.job.json_types import Json
from restbroker.servers.api.arguments import InvalidArguments
from restbroker.servers.api.texts import NO_XML, fits_xml
from restbroker.servers.mongooseim import command_facts
from restbroker.servers.mongooseim.schema import Operation


def document(operation: Operation) -> str:
    """What sends a stanza in the place of this operation."""
    category, name = operation.path
    sent = command_facts.STANZA.partition(".")[2]
    return f"mutation($stanza:XmlElement){{{category}{{{name}:{sent}(stanza:$stanza){{id}}}}}}"


def stanza_of(operation: Operation, given: Mapping[str, Json], target: Target) -> str:
    """The stanza of a message with these arguments, which fit their types. Raises `InvalidArguments`."""
    for name, value in given.items():
        if not fits_xml(value):
            raise InvalidArguments(f'the argument "{name}" has {NO_XML}')
    sender = given.get("from") or (target.credentials.user if isinstance(target.credentials, Basic) else "")
    ends = {"from": _prepare(str(sender)), "to": _prepare(str(given["to"]))}
    message = ET.Element("message", {"type": command_facts.TYPES[operation.name], **ends, "id": str(given["id"])})
    for name in ("subject", "body"):
        if name in given:
            ET.SubElement(message, name).text = str(given[name])
    return ET.tostring(message, "unicode")


def _prepare(jid: str) -> str:
    """As MongooseIM writes a JID: it leaves those in a stanza as they are."""
    bare, slash, resource = jid.partition("/")
    return fold_case(bare) + slash + resource
