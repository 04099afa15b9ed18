"""The options that a source of kind `prosody-rest` takes beyond those of every source."""

import attrs

from restbroker.config.key import key


@attrs.frozen(kw_only=True)
class Options:
    """What is written under `Options`."""

    name: str = key(
        "Name",
        "What the host is called, a bot's name: with it, questions for ping, version and disco#info are answered,"
        " unless IQ is accept.",
        "",
    )
    version: str = key("Version", "Its version, for who asks for that.", "")
