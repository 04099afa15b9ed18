"""The options that a target of kind `ejabberd` takes beyond those of every target."""

import attrs


@attrs.frozen
class Options:
    """`server_version`: whose commands to expect, e.g. "24.12"; "auto" asks the server."""

    server_version: str = "auto"
