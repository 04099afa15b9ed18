"""The settings of the pages, from the configuration, in one value; `app` makes it."""

import attrs

from restbroker.config.secret import Secret
from restbroker.config.target import Basic


@attrs.frozen
class Settings:
    """How the pages are served: `bind` is the address or name to listen on, `names` are further names to answer to.

    `prefix` is the path that a reverse proxy puts before ours, "" for none. `login`: None lets everyone in.
    `metrics_token`: what else opens /metrics, as a bearer token; with it no one reads /metrics without a login.
    """

    bind: str
    names: tuple[str, ...] = ()
    prefix: str = ""
    login: Basic | None = None
    metrics_token: Secret | None = None
    is_read_only: bool = False
