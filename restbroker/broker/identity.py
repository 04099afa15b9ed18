"""The name under which one generation of a worker pool is known to Redis, and what it reports.

Its agents share it. Always holds: a name is never used again; once Redis has taken its rights away, it stays fenced.
"""

import os
import secrets
import socket

import attrs
import trio

from restbroker.telemetry.events import Event, IdentityFenced, OperatorWarning, Report


@attrs.define(eq=False)
class Identity:
    """The identity of one pool. `fenced` is set once Redis no longer knows it, or another pool of its generation."""

    name: str
    report: Report
    fenced: trio.Event = attrs.field(factory=trio.Event)
    is_retired: bool = False
    _warned: set[str] = attrs.field(factory=set)

    def rename(self, name: str) -> None:
        """Take another name, since Redis has one of that name already."""
        self.name = name

    def fence(self) -> None:
        """End this generation of the pool, since Redis no longer knows it; only the first call is reported."""
        if not self.fenced.is_set():
            self.report(IdentityFenced(self.name))
            self.fenced.set()

    def retire(self) -> None:
        """Note that it is taken back on purpose: a heartbeat that fails behind this is no fence."""
        self.is_retired = True

    def warn_once(self, code: str, message: str, hint: str | None) -> None:
        """Report a warning, but each message only once."""
        self.report_once(message, OperatorWarning(code, message, hint))

    def report_once(self, what: str, event: Event) -> None:
        """Report an event, but only the first of those about `what`."""
        if what not in self._warned:
            self._warned.add(what)
            self.report(event)


def new_name() -> str:
    """Return a name for a generation that was never used before: `host:pid:nonce`.

    With `:target` behind it, it is an identity.
    """
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(6)}"
