"""Takes the snapshots of Redis that live pages show, one for all visitors, and keeps their parts as fragments of HTML.

`app` makes one `SnapshotWatch` for the pages' own connection and runs it as a service. Always holds: with any number of
visitors, one request at a time reads Redis, at most once a second and a tenth of the time; no content of Redis ends a
broker; no visitor waits for a Redis that does not answer longer than its connection's time-out; what is kept is
bounded; a fragment is rendered once for all, and only when Redis was read anew: its ETag is the digest of its text.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256

import attrs
import trio

from restbroker.errors import ConfigError, RestbrokerError, StoreRefused
from restbroker.light import define, field, frozen
from restbroker.operate.history import Recorder, Seen
from restbroker.operate.summary import Summary
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import OperatorWarning, Report
from restbroker.web.connection import Causes
from restbroker.web.metrics_view import Figures, Glance

FRESH_S = 1.0
"""A snapshot that is at most this many seconds old is shown without a new one."""
IDLE_S = 10.0
_REST = 10
"""After a snapshot, Redis and the processor are left alone for this many times as long as it took."""
_CAUSES_S = 0.03
"""Seconds of a snapshot that may be spent on the causes of dead jobs; the next one continues."""
_VISITED_S = 60.0
"""After the request of a page, causes are read for this many seconds.

Browsers without JavaScript load theirs every 30 s.
"""


@frozen
class Look:
    """The contents of Redis at one moment; `seen` is what is known of the last hours (`operate.history`).

    `dead` has the causes of dead jobs; None if there are none, or no visitor needs them.
    """

    at_s: float
    figures: Figures
    seen: Mapping[int, Seen]
    dead: Summary | None = None


@frozen
class LiveState:
    """The last snapshot that succeeded, and why the one after it did not; `number` counts the attempts."""

    number: int = 0
    look: Look | None = None
    error: RestbrokerError | None = None

    @property
    def figures(self) -> Figures:
        """The figures of the last look; empty ones before the first."""
        return Figures() if self.look is None else self.look.figures

    def of_target(self, name: str) -> "LiveState":
        """Return the state with this target alone in its processes."""
        if self.look is None:
            return self
        seen = self.look.figures.system
        system = attrs.evolve(seen, targets=tuple(pool for pool in seen.targets if pool.target == name))
        own = [target for target in self.look.figures.targets if target.name == name]
        figures = attrs.evolve(self.look.figures, system=system, targets=own)
        return attrs.evolve(self, look=attrs.evolve(self.look, figures=figures))


@define(eq=False)
class SnapshotWatch:
    """Takes the snapshots; for each, `question()` returns the function that reads Redis. `now_s`: any clock in seconds.

    `causes` reads the causes of dead jobs; None: they are not shown.
    """

    connection: Connection
    question: Callable[[], Glance]
    report: Report
    causes: Causes | None = None
    now_s: Callable[[], float] = trio.current_time
    state: LiveState = field(factory=LiveState)
    _looked_at_s: float = float("-inf")
    _visited_at_s: float = float("-inf")
    _took_s: float = 0.0
    _refresh_requests: int = 0
    _recorder: Recorder = field(factory=Recorder)
    _lock: trio.Lock = field(factory=trio.Lock)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Take a snapshot every ten seconds for the charts, whether or not anyone looks, until cancelled."""
        task_status.started()
        while True:
            await self._refresh()
            await trio.sleep(max(IDLE_S, self._took_s * _REST))

    def refresh_now(self) -> None:
        """Have the next visitor wait for a new snapshot, even if one is in progress: something was just changed."""
        self._refresh_requests += 1
        self._looked_at_s = float("-inf")

    async def state_for(self) -> LiveState:
        """Return the state for a visitor: at most `FRESH_S` seconds old, or older if snapshots take long."""
        self._visited_at_s = self.now_s()
        await self._refresh()
        return self.state

    async def _refresh(self) -> None:
        async with self._lock:
            if self.now_s() - self._looked_at_s >= max(FRESH_S, self._took_s * _REST):
                await self._take_snapshot()

    async def _take_snapshot(self) -> None:
        question, at_s = self.question(), time.time()
        is_visited = self.now_s() - self._visited_at_s < _VISITED_S

        def look(client: Client) -> Look:
            figures = question(client)
            seen = self._recorder.add(client, figures.system, figures.targets, figures.processes, at_s)
            dead = self._dead(client) if is_visited and figures.system.totals.get("dead") else None
            return Look(at_s, figures, seen, dead)

        number, began_s, hurries = self.state.number + 1, self.now_s(), self._refresh_requests
        found = await self._ask(look)
        if isinstance(found, Look):
            self._took_s = self.now_s() - began_s
            self.state = LiveState(number, found, None)
        else:
            self._took_s = 0.0
            self.state = LiveState(number, self.state.look, found)
        self._looked_at_s = self.now_s() if hurries == self._refresh_requests else float("-inf")

    def _dead(self, client: Client) -> Summary | None:
        """Return the causes of dead jobs, as they were if a visitor of their page is just reading them."""
        # The page of the set says what is wrong.
        with suppress(StoreRefused, ConfigError):
            if self.causes is not None:
                return self.causes.now(client, "dead", _CAUSES_S, wait=False)
        return self.state.look.dead if self.state.look is not None else None

    async def _ask(self, ask: Callable[[Client], Look]) -> Look | RestbrokerError:
        """Return the snapshot, or the error that prevented it."""
        try:
            return await self.connection.ask(ask)
        except RestbrokerError as error:
            return error
        # Others write to Redis too. Whatever a look stumbles over, a broker must not end for its pages.
        except Exception as error:  # noqa: BLE001
            what = f"Reading Redis for the pages failed with {type(error).__name__}."
            self.report(OperatorWarning("RequestFailed", what, "Please report this."))
            return RestbrokerError("The content of Redis cannot be shown: reading it failed.", "Please report this.")


Render = Callable[[str, LiveState, str], str]
"""Returns the fragment of a page, as HTML, with the rows that contain a word; called in a thread."""


@frozen
class Fragment:
    """The parts of a page as rendered from the state `number`; `tag` is its ETag."""

    number: int
    html: str
    tag: str = field(init=False)

    @tag.default
    def _digest(self) -> str:
        return sha256(self.html.encode()).hexdigest()[:32]


@define(eq=False)
class Fragments:
    """The newest fragment of each page; `render` is called once for each page and state, in one thread at a time.

    What a visitor filters by a word is rendered for them alone, and not kept.
    """

    render: Render
    render_limiter: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1))
    _newest: dict[str, Fragment] = field(factory=dict)
    _lock: trio.Lock = field(factory=trio.Lock)

    async def make(self, page: str, state: LiveState, word: str = "") -> Fragment:
        """Return a fragment that is at least as new as `state`; wait until it is rendered."""
        async with self._lock:
            found = None if word else self._newest.get(page)
            if found is None or found.number < state.number:
                # Deliveries go on meanwhile.
                html = await trio.to_thread.run_sync(self.render, page, state, word, limiter=self.render_limiter)
                found = Fragment(state.number, html)
                if not word:
                    self._newest[page] = found
        return found
