"""`restbroker ctl` for ejabberd: what `ejabberdctl` takes, and what it prints.

Reached through the registry. Always holds: loads no Trio.
"""

from typing import Final

from restbroker.connectors.ejabberd.ctl.reading import read
from restbroker.connectors.ejabberd.ctl.writing import write
from restbroker.rules.ctl import Manner

MANNER: Final = Manner("ejabberdctl", read, write, asks_state="status")
