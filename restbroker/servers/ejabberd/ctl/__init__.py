"""`restbroker ctl` for ejabberd: reads the arguments of `ejabberdctl`, and prints its output.

Reached through the registry. Always holds: loads no Trio.
"""

from typing import Final

from restbroker.servers.ctl import CtlDialect
from restbroker.servers.ejabberd.ctl.arguments import read
from restbroker.servers.ejabberd.ctl.output import write

DIALECT: Final = CtlDialect("ejabberdctl", read, write, asks_state="status")
