"""The connection to Redis for pages of jobs and for what people do; what this process keeps between two requests.

That is the causes of failed jobs, counted in one place, typed edits, which may hold a secret, and actions that run.

Always holds: a visitor waits a few seconds at most, and then gets an error; the connection is neither the one that live
pages use nor one that delivers; one caller at a time counts causes, and gives way to deliveries, and what was read is
used only as long as the configuration does not change. An edit is only in this process, for a quarter of an hour after
its last use, and there are at most a hundred; pages contain only its name, which cannot be guessed. An action belongs
to the app and not to the request; a stop of the process leaves "interrupted" in its audit entry.
"""

import secrets
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Final, TypeVar

import attrs
import trio
from quart_trio import QuartTrio

from restbroker.broker.tokens import Tokens
from restbroker.config.core import Config
from restbroker.errors import RestbrokerError, StoreUnavailable
from restbroker.light import define, field, frozen
from restbroker.operate.act import Progress
from restbroker.operate.context import ConfigContext
from restbroker.operate.edit import Edit
from restbroker.operate.summary import Summaries, Summary
from restbroker.operate.throttle import Throttle
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.store.keys import SortedSet


@define(eq=False)
class Causes:
    """The causes of failed jobs, one object for a process; `context` may read files."""

    context: Callable[[], ConfigContext]
    _kept: dict[SortedSet, Summaries] = field(factory=dict)
    _newest: dict[SortedSet, Summary] = field(factory=dict)
    _lock: threading.Lock = field(factory=threading.Lock)

    def now(self, client: Client, zset: SortedSet, seconds: float, *, wait: bool = True) -> Summary | None:
        """Return the causes of a set after reading on for `seconds`.

        If another caller reads them and `wait` is false, return what was known before, None for nothing.

        Raise `StoreUnavailable`, `StoreRefused`, or `ConfigError` if a secret's file cannot be read.
        """
        known = self.context()
        if not self._lock.acquire(blocking=wait):
            return self._newest.get(zset)
        try:
            kept = self._kept.get(zset)
            if kept is None or kept.context != known:
                kept = self._kept[zset] = Summaries(zset, known)
            self._newest[zset] = kept.now(client, seconds)
            return self._newest[zset]
        finally:
            self._lock.release()


T = TypeVar("T")
TIMEOUT_S = 8.0


@frozen(eq=False)
class AdminConnection:
    """A connection to Redis for visitors' requests; `causes` serves live pages too.

    `config` returns the configuration as it is now, `context` its facts for showing jobs. Both may read files of
    secrets, so call them in the connection's thread.
    """

    connection: Connection
    context: Callable[[], ConfigContext]
    config: Callable[[], Config]
    causes: Causes = field(init=False)

    @causes.default
    def _causes(self) -> Causes:
        return Causes(self.context)

    def tokens(self) -> Tokens:
        """Return the tokens that admit jobs; call it in the connection's thread, since it may read files."""
        return Tokens(self.config().tokens)

    async def ask(self, question: Callable[[Client], T]) -> T:
        """Run `question(client)` in the connection's thread and return its result; wait at most `TIMEOUT_S` seconds.

        Raise the error that it raises, and `StoreUnavailable` if other requests take too long. When cancelled, a
        question that has begun runs to its end.
        """
        with trio.move_on_after(TIMEOUT_S):
            return await self.connection.ask(question)
        raise StoreUnavailable("Other requests keep Redis busy at the moment.", "Try again.")


_SHOWN_AFTER_S: Final = 1.0
"""How long the page of an action waits for its end, so that it shows the whole of a small one."""
_MOST: Final = 100
_LASTS_S: Final = 900.0


@frozen
class _Entry:
    value: Edit = field(repr=False)
    about: str
    until_s: float


@frozen(eq=False)
class TypedEdits:
    """The edits that wait in this process; each is found only under the `about` it was kept for."""

    _kept: dict[str, _Entry] = field(factory=dict, repr=False)

    def keep(self, value: Edit, about: str) -> str:
        """Keep an edit, and return a name for it that cannot be guessed."""
        now_s = trio.current_time()
        for name, edit in [*self._kept.items()]:
            if edit.until_s < now_s or len(self._kept) >= _MOST:
                del self._kept[name]
        name = secrets.token_urlsafe(24)
        self._kept[name] = _Entry(value, about, now_s + _LASTS_S)
        return name

    def find(self, name: str, about: str) -> Edit | None:
        """Return the edit with this name; None if it was forgotten, or kept for something else."""
        one, now_s = self._kept.get(name), trio.current_time()
        if one is None or one.about != about or one.until_s < now_s:
            return None
        del self._kept[name]
        self._kept[name] = attrs.evolve(one, until_s=now_s + _LASTS_S)
        return one.value


@define(eq=False)
class _Task:
    """An action that runs: its `steps`, in the connection's thread."""

    steps: Generator[Progress]
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    over: trio.Event = field(factory=trio.Event)

    def step(self, _client: Client) -> Progress | None:
        """Return how far it is after the next batch; None if it is over."""
        throttle = Throttle()
        progress = next(self.steps, None)
        throttle.step()
        return progress

    def close(self, _client: Client) -> None:
        """Have it end, and the audit log say so."""
        self.steps.close()


@frozen(eq=False)
class Actions:
    """The actions that run in this process, each as a task of the `app`'s nursery, over the visitors' connection."""

    app: QuartTrio
    admin: AdminConnection
    _running: set[_Task] = field(factory=set)

    async def start(self, steps_of: Callable[[Client], Generator[Progress]]) -> str:
        """Start the action with these steps, and return the name of its first audit entry once there is much to show.

        Raise `UsageError` if it is refused; then nothing is done.
        """

        def begin(client: Client) -> tuple[_Task, Progress]:
            steps = steps_of(client)
            return _Task(steps), next(steps)

        task, progress = await self.admin.ask(begin)
        self._running.add(task)
        self.app.add_background_task(self._run_on, task)
        with trio.move_on_after(_SHOWN_AFTER_S):
            await task.over.wait()
        return progress.run

    async def aclose(self) -> None:
        """Stop all; return once the audit log says so of each. The app calls it before its connections end."""
        for task in self._running:
            task.scope.cancel()
        for task in [*self._running]:
            await task.over.wait()

    async def _run_on(self, task: _Task) -> None:
        call = self.admin.connection.call
        try:
            # An outage of Redis ends it; its entry then has no end, or says that it was interrupted.
            with task.scope, suppress(RestbrokerError):
                while (progress := await call(task.step)) is not None:  # noqa: ASYNC110 - it rests
                    await trio.sleep(progress.rest_s)
        finally:
            with trio.CancelScope(shield=True):
                await call(task.close)
            self._running.discard(task)
            task.over.set()
