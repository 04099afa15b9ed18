"""The options that a target of kind `ejabberd` takes beyond those of every target."""

import attrs

from restbroker.config import values
from restbroker.config.key import key
from restbroker.config.target import Target


@attrs.frozen
class Options:
    """`server_version`: whose commands to expect, e.g. "24.12"; "auto" asks the server."""

    server_version: str = key(
        "ServerVersion", values.text(), "The server's version, e.g. 24.12; auto: ask the server.", "auto"
    )


def options_of(target: Target) -> Options:
    """The target's options; the defaults if it has none."""
    return target.options if isinstance(target.options, Options) else Options()
