"""What holds up the rows of a batch where the jobs of one key are done one after the other.

Used by `bulk.command_batch`. Always holds: it changes nothing, and looks at few of very many keys.
"""

from typing import Final

from restbroker.bulk.push_jobs import row_of
from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.console.times import local
from restbroker.operate import order_wait
from restbroker.operate.context import context_of
from restbroker.store.client import Client

_MOST: Final = 3


def held_lines(client: Client, settings: Config, target: Target, batch: str) -> list[str]:
    """Return in lines for people which jobs hold up jobs of this batch, and what to do.

    Raise `StoreUnavailable` or `StoreRefused`.
    """

    def is_own(jid: str) -> bool:
        return row_of(batch, jid) is not None

    lines: list[str] = []
    for one in order_wait.holders(client, context_of(settings), target, is_own, most=_MOST):
        lines += [f"Jobs are held {one.behind(local)}.", *one.next_steps]
    return [*lines, "All keys that are held: restbroker order list"] if lines else []
