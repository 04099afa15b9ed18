"""Opens connections to Redis in a process without worker pools, for `group` and `single`.

Always holds: the store, a part of such a process' memory, is imported only when this is called.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from restbroker.broker.service import Service
from restbroker.config.core import Config

if TYPE_CHECKING:  # a supervisor that serves nothing needs no Redis
    from restbroker.store.connection import Connection

_TIMEOUT_S = 1.0


def store_access(config: Config) -> tuple[list[Service], "Callable[[], Connection]"]:
    """Return the services that find the master, if there are sentinels, and a function that makes a connection.

    The connection has a short time-out.
    """
    from restbroker.operate.connect import store_settings
    from restbroker.store.client import open_client
    from restbroker.store.connection import Connection, MasterWatch
    from restbroker.store.sentinel import open_sentinels

    settings = store_settings(config)
    sentinels = open_sentinels(settings)
    watch: list[Service] = [] if sentinels is None else [MasterWatch(sentinels)]
    return watch, lambda: Connection(open_client(settings, _TIMEOUT_S, sentinels))
