"""The parts of a live page as one fragment of HTML, which an open page requests again and again; `web.site` serves it.

Always holds: a fragment is rendered once for all visitors of the same page, and only when Redis was read anew; who has
it already (its ETag is the digest of its text) is sent nothing.
"""

from collections.abc import Callable
from hashlib import sha256

import attrs
import trio

from restbroker.web.watch import State

Render = Callable[[str, State], str]
"""Returns the fragment of a page, as HTML; called in a thread."""


@attrs.frozen
class Fragment:
    """The parts of a page as rendered from the state `number`; `tag` is its ETag."""

    number: int
    html: str
    tag: str = attrs.field(init=False)

    @tag.default
    def _digest(self) -> str:
        return sha256(self.html.encode()).hexdigest()[:32]


@attrs.define(eq=False)
class Fragments:
    """The newest fragment of each page; `render` is called once for each page and state, in one thread at a time."""

    render: Render
    render_limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))
    _newest: dict[str, Fragment] = attrs.field(factory=dict)
    _lock: trio.Lock = attrs.field(factory=trio.Lock)

    async def of(self, page: str, state: State) -> Fragment:
        """Return a fragment that is at least as new as `state`; wait until it is rendered."""
        async with self._lock:
            found = self._newest.get(page)
            if found is None or found.number < state.number:
                # Deliveries go on meanwhile.
                html = await trio.to_thread.run_sync(self.render, page, state, limiter=self.render_limiter)
                found = self._newest[page] = Fragment(state.number, html)
        return found
