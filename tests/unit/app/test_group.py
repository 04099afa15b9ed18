"""What the supervisor's side of a group says of a configuration that a worker cannot be started with."""

import io

import attrs
import pytest
import trio
import trio.testing

from restbroker.app.reload import Reload
from restbroker.app.summaries import Summaries
from restbroker.config.core import Config, LoadedConfig
from restbroker.config.load import load
from restbroker.errors import ConfigError
from restbroker.servers import registry
from restbroker.telemetry.events import OperatorWarning
from restbroker.telemetry.log import LogSink

ENVIRON = {"RESTBROKER_RESTQUEUE": "rest", "RESTBROKER_TOKEN": "t0ken", "RESTBROKER_RESTURL": "http://127.0.0.1:1"}


@attrs.define(eq=False)
class Desk:
    """`next` is the configuration as it is now, or what is wrong with it."""

    next: Config | ConfigError
    reloads: int = 0
    written: io.StringIO = attrs.field(factory=io.StringIO)

    def reloader(self, config: Config) -> Reload:
        log = LogSink(stream=self.written)
        return Reload(config, self._load, log, log, reload_workers=self._reload_workers)

    async def _reload_workers(self) -> None:
        self.reloads += 1

    def _load(self) -> LoadedConfig:
        if isinstance(self.next, ConfigError):
            raise self.next
        return LoadedConfig(self.next, (), None)

    def lines(self) -> list[str]:
        """Since the last look."""
        lines = self.written.getvalue().splitlines()
        self.written.seek(0)
        self.written.truncate()
        return lines


@pytest.fixture
def config() -> Config:
    return load(None, ENVIRON, {}, registry.kinds()).config


async def test_what_hinders_a_start_is_told_once_and_again_when_it_is_something_else(config: Config) -> None:
    first, second = ConfigError("env.json is empty.", "Fix it."), ConfigError("X: is bad.", "Fix X.")
    desk = Desk(first)
    reloader = desk.reloader(config)
    assert [await reloader.may_start() for _ in range(3)] == [False] * 3
    (line,) = desk.lines()
    assert "code=StartRefused" in line
    assert "until the configuration is valid. env.json is empty." in line
    assert 'hint="Fix it."' in line
    desk.next = second
    assert not await reloader.may_start()
    assert len(desk.lines()) == 1
    desk.next = config
    assert await reloader.may_start()
    assert desk.lines() == []
    desk.next = second
    assert not await reloader.may_start()
    assert len(desk.lines()) == 1


async def test_workers_load_only_what_their_supervisor_can_use(config: Config) -> None:
    desk = Desk(ConfigError("env.json is empty.", "Fix it."))
    reloader = desk.reloader(config)
    for unusable in (desk.next, attrs.evolve(config, namespace="ns")):
        desk.next = unusable
        await reloader.reload()
        assert (len(desk.lines()), desk.reloads, reloader.config) == (1, 0, config)
    desk.next = attrs.evolve(config, log_level="debug", processes=4)
    await reloader.reload()
    (line,) = desk.lines()
    assert "NeedsRestart" in line
    assert (desk.reloads, reloader.config) == (1, desk.next)


async def test_what_a_supervisor_adds_up_is_written_every_ten_seconds_and_at_the_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    written = io.StringIO()
    log = LogSink(stream=written)
    async with trio.open_nursery() as nursery:
        await nursery.start(Summaries(log).run)
        for _ in range(5):
            log(OperatorWarning("RequestFailed", "/stats failed"))
        await trio.sleep(11)
        assert written.getvalue().endswith("WARNING warnings code=RequestFailed count=2\n")
        for _ in range(4):
            log(OperatorWarning("RequestFailed", "/stats failed"))
        nursery.cancel_scope.cancel()
    assert written.getvalue().endswith("WARNING warnings code=RequestFailed count=1\n")
