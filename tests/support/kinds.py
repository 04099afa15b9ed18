"""Two kinds of targets for what is tested of the configuration without any server."""

from collections.abc import Mapping

import attrs

from restbroker.config import values
from restbroker.config.key import Members, key


@attrs.frozen
class Options:
    server_version: str = key("ServerVersion", values.text(), "The server's version.", "auto")
    api_version: int | None = key("ApiVersion", values.whole(0, 9999), "The API's version.")


@attrs.frozen
class Other:
    deep: bool = key("Deep", values.switch(), "Anything.", False)


KINDS: Mapping[str, Members] = {"ejabberd": Options, "other": Other}
