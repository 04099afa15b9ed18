"""The name under which one generation of a worker pool is registered in Redis, and its way to report events.

All agents of the pool share it. Always holds: a name is never used again; an identity that Redis fenced stays fenced.
"""

import math
import os
import secrets
import socket
import time

import trio

from restbroker.light import define, field
from restbroker.telemetry.events import Event, IdentityFenced, OperatorWarning, Report


@define(eq=False)
class Identity:
    """The identity of one pool.

    `fenced` is set once Redis no longer lists this identity, or that of another pool of the same generation.
    """

    name: str
    report: Report
    fenced: trio.Event = field(factory=trio.Event)
    is_retired: bool = False
    has_marked: bool = False
    """Whether Redis may have marks of its jobs: set before the first is asked for."""
    _warned_until_s: dict[str, float] = field(factory=dict)

    def rename(self, name: str) -> None:
        """Take the name `name`, since Redis lists another identity under the current one."""
        self.name = name

    def fence(self) -> None:
        """End this generation of the pool, since Redis no longer knows it; only the first call is reported."""
        if not self.fenced.is_set():
            self.report(IdentityFenced(self.name))
            self.fenced.set()

    def retire(self) -> None:
        """Note that the generation removes this identity itself: a heartbeat that fails from now on is no fencing."""
        self.is_retired = True

    def warn_once(self, code: str, message: str, hint: str | None) -> None:
        """Report a warning, but each message of a code only once."""
        self.report_once(f"{code} {message}", OperatorWarning(code, message, hint))

    def report_once(self, what: str, event: Event, again_s: float = math.inf) -> None:
        """Report `event`, unless one was reported with the same `what` within the last `again_s` seconds."""
        now_s = time.monotonic()
        if now_s >= self._warned_until_s.get(what, 0.0):
            self._warned_until_s[what] = now_s + again_s
            self.report(event)


def new_name() -> str:
    """Return a name for a generation that was never used before: `host:pid:nonce`.

    With `:target` behind it, it is an identity.
    """
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(6)}"
