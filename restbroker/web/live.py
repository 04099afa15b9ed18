"""Streams of a page's changed parts to browsers (Server-Sent Events); `web.site` serves them.

Always holds: a page is rendered, and a message written, once for all visitors of the same page; a stream keeps only a
number, and has at most one message in transit, so that a slow reader skips snapshots and costs no memory; a stop ends
every stream at once.
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
_SLICES = 50
_SLICE_S = 0.01
"""Seconds between the slices, `_SLICES` in number, in which a change is sent: all at once would hold up deliveries."""

Render = Callable[[str, State], Mapping[str, str]]
"""Returns the parts of a page by name, as HTML; called in a thread."""


@attrs.frozen
class RenderedPage:
    """A page as rendered from the state `number`; `since` has, by part, the number that last changed it."""

    number: int
    parts: Mapping[str, str]
    since: Mapping[str, int]
    _messages: dict[int, bytes] = attrs.field(factory=dict)

    def after(self, number: int, parts: Mapping[str, str]) -> "RenderedPage":
        """Return the page as it is now, with these `parts` from the state `number`."""
        same = {name for name, html in parts.items() if self.parts.get(name) == html}
        return RenderedPage(number, parts, {name: self.since[name] if name in same else number for name in parts})

    def message(self, known: int) -> bytes:
        """Return the message with the parts that changed since the state `known`; empty if none did."""
        if known not in self._messages:
            news = {name: html for name, html in self.parts.items() if self.since[name] > known}
            self._messages[known] = b"data: " + json.dumps(news).encode() + b"\n\n" if news else b""
        return self._messages[known]


_NOTHING = RenderedPage(-1, {}, {})


@attrs.define(eq=False)
class Streams:
    """All streams of an app; `render` is called once for each page and state, one at a time by `render_limiter`."""

    watch: Watch
    render: Render
    render_limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))
    _pages: dict[str, RenderedPage] = attrs.field(factory=dict)
    _lock: trio.Lock = attrs.field(factory=trio.Lock)

    @property
    def are_full(self) -> bool:
        """Whether no further stream can be opened."""
        return self.watch.followers >= MOST_STREAMS

    async def current_page(self, page: str, state: State) -> RenderedPage:
        """Return a page that is at least as new as `state`; wait until it is rendered."""
        async with self._lock:
            shown = self._pages.get(page, _NOTHING)
            if shown.number < state.number:
                # Deliveries go on meanwhile.
                parts = await trio.to_thread.run_sync(self.render, page, state, limiter=self.render_limiter)
                shown = self._pages[page] = shown.after(state.number, parts)
        return shown


class Stream(ResponseBody):
    """One browser's stream; no generator, since the end of a request must end it, not the garbage collection."""

    def __init__(self, streams: Streams, page: str) -> None:
        self._streams = streams
        self._page = page
        self._known = -1
        self._is_let_in = False
        self._late_s = 0.0
        self._stack = ExitStack()

    async def __aenter__(self) -> AsyncIterator[bytes]:
        # Many may have been told at the same moment that there is room.
        self._is_let_in = not self._streams.are_full
        if self._is_let_in:
            self._late_s = self._streams.watch.followers % _SLICES * _SLICE_S
            self._stack.enter_context(self._streams.watch.follow())
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        watch = self._streams.watch
        until_s = trio.current_time() + _PING_S
        if not self._is_let_in:
            raise StopAsyncIteration
        while (remaining_s := until_s - trio.current_time()) > 0:
            state = await watch.next_state(self._known, remaining_s)
            if self._known >= 0 and self._late_s:
                with trio.move_on_after(self._late_s):
                    await watch.stopping.wait()
            if watch.stopping.is_set():
                raise StopAsyncIteration
            shown = await self._streams.current_page(self._page, state)
            message, first = shown.message(self._known), self._known < 0
            self._known = shown.number
            if message:
                return (b"retry: 2000\n" if first else b"") + message
        # So that neither end, nor a proxy between them, takes the connection for dead.
        return b": still here\n\n"
