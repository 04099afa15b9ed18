"""Which version of its server a running process found.

Called by `restbroker commands` and `check --suggest`, which do without it where Redis is slow or away.
"""

from typing import Final

from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.errors import StoreRefused, StoreUnavailable

_QUICK_S: Final = 0.5


def server_version_of(config: Config, target: Target) -> str | None:
    """Return the server's version as a running process found it; None if none did, or Redis answers too slowly."""
    # The store is slow to import, and of no use without a configuration.
    from restbroker.operate.connect import open_store
    from restbroker.operate.enqueue import find_process

    try:
        with open_store(config, _QUICK_S) as client:
            found = find_process(client, target.queues[0])
    except (StoreUnavailable, StoreRefused):
        return None
    return None if found is None else found.server_version
