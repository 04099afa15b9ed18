"""Whether XML can hold the texts of a command. Pure.

Admission asks it of each job for an XMPP server, connectors of what they put into a stanza besides. Always holds: no
text makes it raise; a refusal shows no value.
"""

import re
from collections.abc import Mapping
from typing import Final

from restbroker.job.endpoint import bare
from restbroker.job.json_types import Json
from restbroker.job.reason import Reason

NO_XML: Final = "a control character or half of one, which XML does not allow"
"""What a value has that XML cannot hold, as part of a sentence."""
_TAKE_OUT: Final = r"Take it out before you push: `sed 's/\x1b\[[0-9;]*m//g'` takes out the colours of a log."
_NO_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def fits_xml(value: Json) -> bool:
    """Tell whether all texts in the value can stand in XML."""
    if isinstance(value, str):
        # What can be printed has none of them, which is known sooner.
        return value.isprintable() or _NO_XML.search(value) is None
    match value:
        case list():
            return all(fits_xml(inner) for inner in value)
        case dict():
            return all(fits_xml(key) and fits_xml(inner) for key, inner in value.items())
        case _:
            return True


def refuse_unfit(arguments: Mapping[str, Json]) -> Reason | None:
    """Return why a command with these arguments is refused: XML cannot hold a name or a text in them; None if it can.

    Servers write such a text into their users' streams as it is, and the users' clients end the connection (measured on
    ejabberd 23.01 and MongooseIM 6.8.0).
    """
    unfit = next((name for name, value in arguments.items() if not (fits_xml(name) and fits_xml(value))), None)
    if unfit is None:
        return None
    named = f'the argument "{bare(unfit)}"' if fits_xml(unfit) else "the name of an argument"
    return Reason("BadArgument", f"The request cannot be made: {named} has {NO_XML}.", _TAKE_OUT)
