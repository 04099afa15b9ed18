"""The settings of the pages, from the configuration, in one value; `app` makes it."""

import attrs

from restbroker.config.target import Basic


@attrs.frozen
class Settings:
    """How the pages are served: `bind` is the address or name to listen on, `names` are further names to answer to.

    `prefix` is the path that a reverse proxy puts before ours, "" for none. `login`: None lets everyone in.
    """

    bind: str
    names: tuple[str, ...] = ()
    prefix: str = ""
    login: Basic | None = None
    is_read_only: bool = False
