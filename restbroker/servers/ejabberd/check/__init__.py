"""The part of `restbroker check` for a target of kind `ejabberd`. The registry calls `check`."""

from restbroker.servers.ejabberd.check.server import check

__all__ = ["check"]
