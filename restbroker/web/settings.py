"""How the pages are to be served: what the configuration says of them, in one value. `app` makes it."""

import attrs

from restbroker.config.target import Basic


@attrs.frozen
class Settings:
    """`bind`: the address or name that is listened on; `names`: others that are answered to.

    `prefix`: the path that a reverse proxy puts before ours, "" for none. `login`: None lets everybody in.
    """

    bind: str
    names: tuple[str, ...] = ()
    prefix: str = ""
    login: Basic | None = None
    is_read_only: bool = False
