"""A message whose job gives it an `id`, as a stanza of its own: `send_message` makes up another id for each sending.

Called by the connector. Always holds: pure; the stanza is what ejabberd makes of such a message (measured on 23.01 and
24.12), but for the `id`, so that it says no more than a token for `send_message` may.
"""

from collections.abc import Mapping
from typing import Final
from xml.etree import ElementTree as ET

import attrs

from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.servers.api.arguments import InvalidArguments
from restbroker.servers.api.texts import NO_XML, fits_xml
from restbroker.servers.ejabberd.command_attributes import MESSAGE, STANZA

_TAKES: Final = frozenset({"type", "from", "to", "subject", "body", "id"})


def is_for(call: Call) -> bool:
    """Tell whether the call is for a message with an `id`."""
    command = call.command
    return "id" in command.arguments and command.endpoint.partition("/")[0] == MESSAGE


def as_stanza(call: Call) -> Call:
    """Return the call that sends this message as a stanza; raise `InvalidArguments` if its arguments make none."""
    given = _texts(call.command.arguments)
    message = ET.Element("message", {"type": given["type"], "id": given["id"]})
    if given["subject"] or not given["body"]:
        # As ejabberd does: an empty one stands beside an empty body alone.
        ET.SubElement(message, "subject").text = given["subject"]
    ET.SubElement(message, "body").text = given["body"]
    # A parser makes a line feed of a bare carriage return.
    written = ET.tostring(message, "unicode").replace("\r", "&#13;")
    arguments = {"from": given["from"], "to": given["to"], "stanza": written}
    return attrs.evolve(call, command=Command(STANZA + call.command.endpoint[len(MESSAGE) :], arguments))


def _texts(given: Mapping[str, Json]) -> Mapping[str, str]:
    if missing := sorted(_TAKES - given.keys()):
        raise InvalidArguments(f'the argument "{missing[0]}" is missing')
    if unknown := sorted(given.keys() - _TAKES):
        raise InvalidArguments(f'the argument "{unknown[0]}" is unknown')
    texts: dict[str, str] = {}
    for name, value in given.items():
        if not isinstance(value, str) or (name == "id" and not value):
            raise InvalidArguments(f'the argument "{name}" is not a string, or is empty')
        if not fits_xml(value):
            raise InvalidArguments(f'the argument "{name}" has {NO_XML}')
        texts[name] = value
    return texts
