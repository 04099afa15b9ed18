"""Streams of a page's changed parts to browsers (Server-Sent Events). `web.site` serves them.

Always holds: what is rendered is rendered once for all who look at the same page; a stream has at most one message on
its way, so that a slow reader skips looks and costs no memory; a stop ends every stream at once.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack
from types import TracebackType

import attrs
import trio
from quart.wrappers.response import ResponseBody

from restbroker.web.watch import State, Watch

MOST_STREAMS = 200
_PING_S = 15.0

Render = Callable[[str, State], Mapping[str, str]]
"""The parts of a page by name, as HTML. Called in a thread."""


@attrs.define(eq=False)
class Streams:
    """All streams of an app. `render` is called once for each page and look."""

    watch: Watch
    render: Render
    _rendered: dict[str, tuple[int, Mapping[str, str]]] = attrs.field(factory=dict)
    _turn: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))
    _lock: trio.Lock = attrs.field(factory=trio.Lock)

    @property
    def are_full(self) -> bool:
        """Whether no more can be opened."""
        return self.watch.followers >= MOST_STREAMS

    async def parts(self, page: str, state: State) -> Mapping[str, str]:
        """The parts of a page, at least as new as `state`."""
        async with self._lock:
            number, parts = self._rendered.get(page, (-1, {}))
            if number < state.number:
                # Deliveries go on meanwhile.
                parts = await trio.to_thread.run_sync(self.render, page, state, limiter=self._turn)
                self._rendered[page] = (state.number, parts)
        return parts


class Stream(ResponseBody):
    """One browser's stream. No generator: the end of a request must end it, not the collection of garbage.

    `may_go_on`: whether its reader is still one who may see the page.
    """

    def __init__(self, streams: Streams, page: str, may_go_on: Callable[[], bool]) -> None:
        self._streams = streams
        self._page = page
        self._may_go_on = may_go_on
        self._sent: dict[str, str] = {}
        self._number = -1
        self._stack = ExitStack()

    async def __aenter__(self) -> AsyncIterator[bytes]:
        self._stack.enter_context(self._streams.watch.followed())
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        watch = self._streams.watch
        first = self._number < 0
        until_s = trio.current_time() + _PING_S
        while (left_s := until_s - trio.current_time()) > 0:
            state = await watch.later(self._number, left_s)
            if watch.stopping.is_set() or not self._may_go_on():
                raise StopAsyncIteration
            parts = await self._streams.parts(self._page, state)
            self._number = state.number
            changed = {name: html for name, html in parts.items() if self._sent.get(name) != html}
            if changed:
                self._sent |= changed
                return (b"retry: 2000\n" if first else b"") + b"data: " + json.dumps(changed).encode() + b"\n\n"
        # So that neither end, nor a proxy between them, takes the connection for dead.
        return b": still here\n\n"
