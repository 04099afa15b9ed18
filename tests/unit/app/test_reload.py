"""What counts of a configuration that is loaded while the process runs, from when, and what is said of it.

In one process, and in the supervisor of a group.
"""

import io
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import attrs
import pytest
import trio
import trio.testing

from restbroker.app import reload as reload_module
from restbroker.app.build import plan_of
from restbroker.app.reload import Reload
from restbroker.app.services import LogTicker
from restbroker.broker.plan import BrokerPlan
from restbroker.broker.target_plan import TargetPlan
from restbroker.broker.tokens import Tokens
from restbroker.config.core import Config, LoadedConfig
from restbroker.config.events import Events, EventSource, Handover
from restbroker.config.load import load
from restbroker.config.problems import Notice
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.errors import ConfigError
from restbroker.servers import registry
from restbroker.telemetry.counters import Counters
from restbroker.telemetry.events import ConfigRefused, ConfigReloaded, ConfigUnchanged, Event, OperatorWarning
from restbroker.telemetry.log import LogSettings, LogSink

ENVIRON = {"RESTBROKER_RESTQUEUE": "rest", "RESTBROKER_TOKEN": "t0ken", "RESTBROKER_RESTURL": "http://127.0.0.1:1"}


@attrs.define(eq=False)
class Setup:
    """A reloader, and what came of it. `next` is the configuration as it is now, or what is wrong with it."""

    next: Config | ConfigError
    notes: tuple[Notice, ...] = ()
    events: list[Event] = attrs.field(factory=list)
    planned: list[Config] = attrs.field(factory=list)
    reloads: int = 0

    def supervisor(self, config: Config) -> Reload:
        """Return the reloader of a group."""
        return Reload(config, self._load, LogSink(), self.events.append, reload_workers=self._reload_workers)

    async def _reload_workers(self) -> None:
        self.reloads += 1

    def reloader(
        self,
        config: Config,
        plan: Callable[[Config], Awaitable[BrokerPlan]] | None = None,
        targets: Sequence[TargetPlan] = (),
    ) -> Reload:
        log = LogSink(LogSettings(config.log_level))
        return Reload(config, self._load, log, self.events.append, plan or self._plan, targets)

    def _load(self) -> LoadedConfig:
        if isinstance(self.next, ConfigError):
            raise self.next
        return LoadedConfig(self.next, self.notes, None)

    async def _plan(self, config: Config) -> BrokerPlan:
        self.planned.append(config)
        return BrokerPlan([], [], _never, _never, _never, self.events.append, _never)


def _ignore(_event: Event) -> None:
    pass


def _never(*_: object) -> NoReturn:
    raise AssertionError("a plan opens nothing")


@pytest.fixture
def config() -> Config:
    return load(None, ENVIRON, {}, registry.kinds()).config


async def test_what_cannot_be_used_changes_nothing_and_has_a_cure(config: Config) -> None:
    """The file, or a target that it makes."""
    wrong = ConfigError("env.json cannot be used: X: is bad.", "Mend X.")
    running = attrs.evolve(config, log_level="error")

    async def fail(_config: Config) -> BrokerPlan:
        raise wrong

    for setup, plan in ((Setup(wrong), None), (Setup(attrs.evolve(config, uncertain_retries=7)), fail)):
        reloader = setup.reloader(running, plan)
        assert await reloader.reload() is None
        assert setup.events == [ConfigRefused(wrong.message, wrong.hint)]
        assert (reloader.config, reloader.log.settings.level, setup.planned) == (running, "error", [])


async def test_a_queue_of_events_goes_to_no_other_target(config: Config) -> None:
    """Events change only at a restart: their jobs would be commands of another server."""
    (target,) = config.targets
    hook = attrs.evolve(target, name="hook", queues=("hook",))
    source = EventSource("src", "webhook", "/p", "hook", handover=Handover("hook", "status"))
    running = attrs.evolve(config, targets=(target, hook), events=Events(sources=(source,)))
    moved = attrs.evolve(target, queues=("rest", "hook"))
    setup = Setup(attrs.evolve(config, targets=(moved,)))
    reloader = setup.reloader(running)
    assert await reloader.reload() is None
    (refused,) = setup.events
    assert isinstance(refused, ConfigRefused)
    assert "Events.Sources.src: its events are jobs in the queue 'hook', which would be the target ejabberd's" in str(
        refused
    )
    assert reloader.config is running
    assert not await setup.supervisor(running).may_start(), "nor by a worker that starts"
    setup.next = config
    assert await reloader.reload() is not None
    assert reloader.config is config


async def test_a_target_of_events_keeps_its_kind(config: Config) -> None:
    """Their jobs would be commands of another kind of server; of the kind of the start they may be, even in between."""
    (target,) = config.targets
    source = EventSource("src", "webhook", "/p", target.queues[0], handover=Handover(target.name, "status"))
    running = attrs.evolve(config, events=Events(sources=(source,)))
    setup = Setup(attrs.evolve(running, targets=(attrs.evolve(target, kind="prosody-rest"),)))
    reloader = setup.reloader(running)
    assert await reloader.reload() is None
    (refused,) = setup.events
    assert "would be the target ejabberd's (of kind prosody-rest)" in str(refused)
    away = attrs.evolve(running, targets=(attrs.evolve(target, name="other", queues=("other",)),))
    for setup.next in (away, running):
        assert await reloader.reload() is not None


async def test_the_token_of_events_counts_until_a_restart(config: Config) -> None:
    """Their jobs are made with the secret of the start: all would be dead."""
    (target,) = config.targets
    source = EventSource("src", "webhook", "/p", target.queues[0], handover=Handover(target.name, "status"))
    old, new = (Token("one", (Secret(word),)) for word in ("old", "new"))
    running = attrs.evolve(config, tokens=(old,), events=Events(sources=(source,)))
    setup = Setup(attrs.evolve(running, tokens=(new,)))
    reloader = setup.reloader(running)
    assert await reloader.reload() is None
    (refused,) = setup.events
    assert "with the token one of the start, which would not count any more" in str(refused)
    setup.next = attrs.evolve(running, tokens=(attrs.evolve(new, secrets=(*new.secrets, *old.secrets)),))
    assert await reloader.reload() is not None


@pytest.mark.parametrize("change", [lambda c: c, lambda c: attrs.evolve(c, log_level="debug")])
async def test_remaining_pools_reread_their_token_files(
    config: Config, change: Callable[[Config], Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    monkeypatch.setattr("restbroker.broker.tokens._stat_of", lambda _path: (1, 3, 0, 0))
    tokens = Tokens([Token("t", (Secret(path=path),))])
    (pool,) = plan_of(config, _ignore, Counters()).targets
    reloader = Setup(change(config)).reloader(config, targets=[attrs.evolve(pool, tokens=tokens)])
    assert tokens.proof("old") is not None
    path.write_text("new")
    assert tokens.proof("old") is not None
    assert await reloader.reload() is None
    assert tokens.proof("old") is None


async def test_the_same_configuration_is_said_to_be_the_same(config: Config) -> None:
    setup = Setup(load(None, ENVIRON, {}, registry.kinds()).config)
    assert await setup.reloader(config).reload() is None
    assert setup.events == [ConfigUnchanged()]
    assert setup.planned == []


def _more_workers(config: Config) -> Config:
    return attrs.evolve(config, targets=(attrs.evolve(config.targets[0], concurrency=3),))


async def test_change_of_pools_gives_a_plan(config: Config) -> None:
    rows: list[Callable[[Config], Config]] = [
        _more_workers,
        lambda c: attrs.evolve(c, dead_limit=5),
        lambda c: attrs.evolve(c, show_bodies=True),
    ]
    for change in rows:
        new = change(config)
        note = Notice("NoDomain", "JabberDomain is not given.", "Give it.")
        setup = Setup(new, (note,))
        reloader = setup.reloader(config)
        assert await reloader.reload() is not None
        assert setup.planned == [new]
        assert setup.events == [ConfigReloaded(("ejabberd",)), OperatorWarning(note.code, note.message, note.hint)]
        assert reloader.config is new
        assert await reloader.reload() is None


async def test_other_changes_leave_pools_alone(config: Config) -> None:
    new = attrs.evolve(config, log_level="debug")
    setup = Setup(new)
    reloader = setup.reloader(config)
    assert await reloader.reload() is None
    assert (reloader.log.settings.level, setup.planned) == ("debug", [])
    assert setup.events == [ConfigReloaded(("ejabberd",))]


async def test_address_to_listen_on_needs_a_restart_as_is_said_once(config: Config) -> None:
    setup = Setup(attrs.evolve(config, stats_port=9999, health_bind=("127.0.0.1", 1), processes=4))
    reloader = setup.reloader(config)
    assert await reloader.reload() is None
    assert await reloader.reload() is None
    late = [event for event in setup.events if isinstance(event, OperatorWarning)]
    assert [event.code for event in late] == ["NeedsRestart"]
    assert late[0].message.startswith("StatsPort, HealthBind, Processes: ")
    assert reloader.late == ["StatsPort", "HealthBind", "Processes"]
    setup.next = attrs.evolve(config, log_level="debug")
    await reloader.reload()
    assert (reloader.late, isinstance(setup.events[-1], ConfigReloaded)) == ([], True), "as at the start again"


async def test_another_redis_is_refused_as_a_whole(config: Config) -> None:
    rows: list[Callable[[Config], Config]] = [
        lambda c: attrs.evolve(c, redis_url="redis://127.0.0.1:1/0"),
        lambda c: attrs.evolve(c, namespace="ns"),
        lambda c: attrs.evolve(c, redis_sentinels=(("127.0.0.1", 1),)),
    ]
    for change in rows:
        setup = Setup(change(_more_workers(config)))
        reloader = setup.reloader(config)
        assert await reloader.reload() is None
        (refused,) = setup.events
        assert isinstance(refused, ConfigRefused)
        assert "another Redis" in refused.message
        assert (reloader.config, setup.planned) == (config, [])


@pytest.fixture
def hung(config: Config) -> Iterator[Callable[[], LoadedConfig]]:
    """A `load` that does not return before the test's end, as of a file on a mount that hangs."""
    let_go = threading.Event()

    def load_for_ever() -> LoadedConfig:
        let_go.wait(30)
        return LoadedConfig(attrs.evolve(config, dead_limit=5), (), None)

    yield load_for_ever
    let_go.set()


async def test_hanging_file_is_refused_each_time_and_counts_never(
    config: Config, hung: Callable[[], LoadedConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload_module, "_LOAD_S", 0.05)
    setup = Setup(config)
    reloader = attrs.evolve(setup.reloader(config), load=hung)
    with trio.fail_after(60):
        for _ in range(3):
            assert await reloader.reload() is None
    refused = [event for event in setup.events if isinstance(event, ConfigRefused)]
    assert len(refused) == len(setup.events) == 3
    assert "could not be read within 50 ms" in refused[0].message
    assert (reloader.config, setup.planned) == (config, [])


async def test_a_reload_that_hangs_can_be_cancelled_at_once(config: Config, hung: Callable[[], LoadedConfig]) -> None:
    setup = Setup(config)
    reloader = attrs.evolve(setup.reloader(config), load=hung)
    with trio.fail_after(60), trio.move_on_after(0.05):
        await reloader.reload()
    assert setup.events == []


async def test_obstacle_of_a_start_is_reported_once_until_it_changes(config: Config) -> None:
    first, second = ConfigError("env.json is empty.", "Fix it."), ConfigError("X: is bad.", "Fix X.")
    setup = Setup(first)
    reloader = setup.supervisor(config)
    for now, count in ((first, 1), (first, 1), (second, 2), (config, 2), (second, 3)):
        setup.next = now
        assert await reloader.may_start() is (now is config)
        assert len(setup.events) == count
    said = "A worker cannot be restarted until the configuration is valid. env.json is empty."
    assert setup.events[0] == OperatorWarning("StartRefused", said, "Fix it.")


async def test_once_its_files_were_replaced_only_a_restart_helps(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if they are gone; a worker of the other version reads the configuration itself."""
    file, newer = tmp_path / "reload.py", tmp_path / "newer"
    for path in (file, newer):
        path.write_text("")
    monkeypatch.setattr(reload_module, "__file__", str(file))
    setup = Setup(attrs.evolve(config, log_level="debug"))
    replaced = setup.supervisor(config)
    await replaced.reload()
    assert (setup.events, setup.reloads) == ([], 1)
    setup.next = ConfigError("env.json is empty.", "Fix it.")
    for change in (lambda: newer.replace(file), file.unlink):
        change()
        await replaced.reload()
        (refused,) = setup.events
        assert isinstance(refused, ConfigRefused)
        assert ("files were replaced" in refused.message, refused.hint) == (True, "Restart restbroker. No job is lost.")
        assert await replaced.may_start()
        setup.events.clear()
    assert setup.reloads == 1


async def test_workers_load_only_what_their_supervisor_can_use(config: Config) -> None:
    setup = Setup(ConfigError("env.json is empty.", "Fix it."))
    reloader = setup.supervisor(config)
    for unusable in (setup.next, attrs.evolve(config, namespace="ns")):
        setup.next = unusable
        await reloader.reload()
        assert (type(setup.events.pop()), setup.events, setup.reloads) == (ConfigRefused, [], 0)
        assert reloader.config == config
    setup.next = attrs.evolve(config, log_level="debug", processes=4)
    await reloader.reload()
    (late,) = setup.events
    assert isinstance(late, OperatorWarning)
    assert (late.code, setup.reloads, reloader.config) == ("NeedsRestart", 1, setup.next)


async def test_totals_of_a_supervisor_are_written_each_10_s_and_at_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    written = io.StringIO()
    log = LogSink(stream=written)
    async with trio.open_nursery() as nursery:
        await nursery.start(LogTicker(log.tick).run)
        for _ in range(5):
            log(OperatorWarning("RequestFailed", "/stats failed"))
        await trio.sleep(11)
        assert written.getvalue().endswith("WARNING warnings code=RequestFailed count=2\n")
        for _ in range(4):
            log(OperatorWarning("RequestFailed", "/stats failed"))
        nursery.cancel_scope.cancel()
    assert written.getvalue().endswith("WARNING warnings code=RequestFailed count=1\n")
