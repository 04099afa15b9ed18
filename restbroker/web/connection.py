"""One question of one visitor to Redis: pages of jobs, and what people do. Used by `web.sets` and `web.control_pages`.

Always holds: a visitor waits a few seconds at most, and is told then; the connection is not the one that live pages are
fed by, nor one that delivers.
"""

from collections.abc import Callable
from typing import TypeVar

import attrs
import trio

from restbroker.broker.delivery.tokens import Tokens
from restbroker.config.core import Config
from restbroker.errors import ConnectionEnded, StoreUnavailable
from restbroker.operate.context import ConfigContext
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.web.causes import Causes

T = TypeVar("T")
TURN_S = 8.0


@attrs.frozen(eq=False)
class AdminConnection:
    """`config` is the one that counts now; `known` makes what it knows of jobs. Secrets' files are read then, so both
    are called in the thread.

    `causes` serves live pages too.
    """

    connection: Connection
    known: Callable[[], ConfigContext]
    config: Callable[[], Config]
    causes: Causes = attrs.field(init=False)

    @causes.default
    def _causes(self) -> Causes:
        return Causes(self.known)

    def tokens(self) -> Tokens:
        """What lets jobs in. To be called in the thread, too."""
        return Tokens(self.config().tokens)

    async def ask(self, question: Callable[[Client], T]) -> T:
        """What Redis answers. Raises what the question raises, and `StoreUnavailable` where others take too long."""
        with trio.move_on_after(TURN_S):
            try:
                return await self.connection.call(question)
            except ConnectionEnded:  # since the last question; nothing of this one was done
                return await self.connection.call(question)
        raise StoreUnavailable("Other requests keep Redis busy at the moment.", "Try again.")
