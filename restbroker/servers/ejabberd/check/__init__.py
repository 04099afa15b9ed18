"""What `restbroker check` examines in an ejabberd. The registry calls `check`."""

from restbroker.servers.ejabberd.check.server import check

__all__ = ["check"]
