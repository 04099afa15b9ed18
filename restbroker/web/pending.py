"""What this process keeps between two requests: typed edits, which may hold a secret, and the actions that run.

`web.actions` and `web.edit` use it. Always holds: an edit is only in this process, for a quarter of an hour after its
last use, and there are at most a hundred; pages contain only its name, which cannot be guessed. An action belongs to
the app and not to the request; a stop of the process leaves "interrupted" in its audit entry.
"""

import secrets
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Final

import attrs
import trio
from quart_trio import QuartTrio

from restbroker.errors import RestbrokerError
from restbroker.operate.act import Progress
from restbroker.operate.edit import Edit
from restbroker.operate.throttle import Throttle
from restbroker.store.client import Client
from restbroker.web.connection import AdminConnection

_SHOWN_AFTER_S: Final = 1.0
"""How long the page of an action waits for its end, so that it shows the whole of a small one."""
_MOST: Final = 100
_LASTS_S: Final = 900.0


@attrs.frozen
class _Entry:
    value: Edit = attrs.field(repr=False)
    about: str
    until_s: float


@attrs.frozen(eq=False)
class TypedEdits:
    """The edits that wait in this process; each is found only under the `about` it was kept for."""

    _kept: dict[str, _Entry] = attrs.field(factory=dict, repr=False)

    def keep(self, value: Edit, about: str) -> str:
        """Keep an edit, and return a name for it that cannot be guessed."""
        now_s = trio.current_time()
        for name, one in [*self._kept.items()]:
            if one.until_s < now_s or len(self._kept) >= _MOST:
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


@attrs.define(eq=False)
class _Task:
    """An action that runs: its `steps`, in the connection's thread."""

    steps: Generator[Progress]
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    over: trio.Event = attrs.field(factory=trio.Event)

    def step(self, _client: Client) -> Progress | None:
        """Return how far it is after the next batch; None if it is over."""
        throttle = Throttle()
        progress = next(self.steps, None)
        throttle.step()
        return progress

    def close(self, _client: Client) -> None:
        """Have it end, and the audit log say so."""
        self.steps.close()


@attrs.frozen(eq=False)
class Actions:
    """The actions that run in this process, each as a task of the `app`'s nursery, over the visitors' connection."""

    app: QuartTrio
    admin: AdminConnection
    _running: set[_Task] = attrs.field(factory=set)

    async def start(self, steps_of: Callable[[Client], Generator[Progress]]) -> str:
        """Start the action with these steps, and return the name of its first audit entry once there is much to show.

        Raise `UsageError` if it is refused; then nothing is done.
        """

        def begin(client: Client) -> tuple[_Task, Progress]:
            steps = steps_of(client)
            return _Task(steps), next(steps)

        task, progress = await self.admin.ask(begin)
        self._running.add(task)
        self.app.add_background_task(self._go_on, task)
        with trio.move_on_after(_SHOWN_AFTER_S):
            await task.over.wait()
        return progress.run

    async def aclose(self) -> None:
        """Stop all; return once the audit log says so of each. The app calls it before its connections end."""
        for task in self._running:
            task.scope.cancel()
        for task in [*self._running]:
            await task.over.wait()

    async def _go_on(self, task: _Task) -> None:
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
