"""Two kinds of targets for what is tested of the configuration without any server."""

from collections.abc import Mapping

import attrs

from restbroker.config import values
from restbroker.config.key import Members, key
from restbroker.connectors.ejabberd.options import Options


@attrs.frozen
class Other:
    deep: bool = key("Deep", values.switch(), "Anything.", False)


KINDS: Mapping[str, Members] = {"ejabberd": Options, "other": Other}
