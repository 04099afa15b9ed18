"""Streams of a page's changed parts to browsers (Server-Sent Events). `web.site` serves them.

Always holds: what is rendered, or written as a message, is so once for all who look at the same page; a stream keeps
nothing but a number, and has at most one message on its way, so that a slow reader skips looks and costs no memory; a
stop ends every stream at once.
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
"""A change is sent to many in so many slices: deliveries would have to wait for all of them at once."""

Render = Callable[[str, State], Mapping[str, str]]
"""The parts of a page by name, as HTML. Called in a thread."""


@attrs.frozen
class RenderedPage:
    """A page as it was rendered of the look `number`. `since`: the look of which each part has been like this."""

    number: int
    parts: Mapping[str, str]
    since: Mapping[str, int]
    _messages: dict[int, bytes] = attrs.field(factory=dict)

    def after(self, number: int, parts: Mapping[str, str]) -> "RenderedPage":
        """The page as it is now."""
        same = {name for name, html in parts.items() if self.parts.get(name) == html}
        return RenderedPage(number, parts, {name: self.since[name] if name in same else number for name in parts})

    def message(self, known: int) -> bytes:
        """What is new to who knows the page of the look `known`; empty where nothing is."""
        if known not in self._messages:
            news = {name: html for name, html in self.parts.items() if self.since[name] > known}
            self._messages[known] = b"data: " + json.dumps(news).encode() + b"\n\n" if news else b""
        return self._messages[known]


_NOTHING = RenderedPage(-1, {}, {})


@attrs.define(eq=False)
class Streams:
    """All streams of an app. `render` is called once for each page and look, one at a time by `turn`."""

    watch: Watch
    render: Render
    turn: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))
    _shown: dict[str, RenderedPage] = attrs.field(factory=dict)
    _lock: trio.Lock = attrs.field(factory=trio.Lock)

    @property
    def are_full(self) -> bool:
        """Whether no more can be opened."""
        return self.watch.followers >= MOST_STREAMS

    async def current_page(self, page: str, state: State) -> RenderedPage:
        """A page, at least as new as `state`."""
        async with self._lock:
            shown = self._shown.get(page, _NOTHING)
            if shown.number < state.number:
                # Deliveries go on meanwhile.
                parts = await trio.to_thread.run_sync(self.render, page, state, limiter=self.turn)
                shown = self._shown[page] = shown.after(state.number, parts)
        return shown


class Stream(ResponseBody):
    """One browser's stream. No generator: the end of a request must end it, not the collection of garbage.

    `may_go_on`: whether its reader is still one who may see the page.
    """

    def __init__(self, streams: Streams, page: str, may_go_on: Callable[[], bool]) -> None:
        self._streams = streams
        self._page = page
        self._may_go_on = may_go_on
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
        while (left_s := until_s - trio.current_time()) > 0:
            state = await watch.later(self._known, left_s)
            if self._known >= 0 and self._late_s:
                with trio.move_on_after(self._late_s):
                    await watch.stopping.wait()
            if watch.stopping.is_set() or not self._may_go_on():
                raise StopAsyncIteration
            shown = await self._streams.current_page(self._page, state)
            message, first = shown.message(self._known), self._known < 0
            self._known = shown.number
            if message:
                return (b"retry: 2000\n" if first else b"") + message
        # So that neither end, nor a proxy between them, takes the connection for dead.
        return b": still here\n\n"
