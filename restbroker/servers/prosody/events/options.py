"""The options that a source of kind `prosody-rest` takes beyond those of every source."""

from typing import Literal

import attrs

from restbroker.config.key import key


@attrs.frozen(kw_only=True)
class Options:
    """The members of `Options` in the configuration."""

    name: str = key("Name", default="")
    """The host's name, e.g. a bot's: restbroker then answers ping, version and disco#info, unless IQ is accept."""
    xml: bool = key("XML", default=False)
    """The server may post stanzas as XML: events have the whole stanza in raw.xml."""
    version: str = key("Version", default="")
    """Its version, as the answer to version."""
    room: Literal["from", "to"] = key("Room", default="from")
    """Whose address is the room's in a groupchat: to, for ejabberd's mod_post_log."""
