"""A signal to stop at any moment of the start, and at the very end: the process ends at once, with 0, 130 or 143."""

import collections
import json
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import trio

from restbroker.broker.signals import receive
from restbroker.start import STOP, end_at_once
from tests.support.process import started

PROBE = """
import os, signal, sys, trio
import restbroker.__main__

number, places = int(sys.argv.pop(1)), sys.argv.pop(1).split()

def end(*_, **__):
    raise RuntimeError("Trio listens now.")

class Hook:
    def find_spec(self, name, path=None, target=None):
        # What `listen` itself needs comes before it.
        if not name.startswith("restbroker.") or name == "restbroker.start" or places and name not in places:
            return
        child = os.fork()
        if child:
            print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
            return
        try:
            os.kill(os.getpid(), number)
            os._exit(99)  # It went on.
        except BaseException:
            os._exit(98)  # Some handler raised, and an import might catch that.

trio.open_signal_receiver = end
sys.meta_path.insert(0, Hook())
restbroker.__main__.main()
"""

PLACES = (
    *("restbroker.cli.app", "restbroker.config.load", "restbroker.servers.ejabberd.options"),
    *("restbroker.app.build", "restbroker.servers.ejabberd.session", "restbroker.broker.worker"),
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "env.json"
    target = {"Kind": "ejabberd", "URL": "http://127.0.0.1:9/api", "Queues": ["rest"]}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
    file.write_text(json.dumps({"Token": "a-token", "Targets": {"one": target}, "RedisURL": url, "Roster": {}}))
    return file


@pytest.mark.parametrize(
    ("words", "number", "code", "places"),
    [
        (["run"], signal.SIGTERM, 0, PLACES),
        *(
            pytest.param(words, number, code, (), marks=pytest.mark.nightly)
            for words, number, code in [
                (["run"], signal.SIGTERM, 0),
                (["run"], signal.SIGINT, 130),
                (["--log-level", "info", "run", "--processes", "2"], signal.SIGTERM, 0),
                (["web"], signal.SIGTERM, 0),
                (["roster", "serve", "--stats"], signal.SIGTERM, 0),
            ]
        ),
    ],
)
def test_a_stop_at_any_import_ends_the_process_and_raises_nothing(
    words: Sequence[str], number: signal.Signals, code: int, places: Sequence[str], config: Path, tmp_path: Path
) -> None:
    """At each import of the start, or some of them, a fork of the process gets the signal."""
    command = (sys.executable, "-c", PROBE, str(number.value), " ".join(places), "--config", str(config))
    with started(words, directory=tmp_path / "run", command=command) as running:
        assert running.wait() == 1
    assert "Trio listens now." in running.output()
    ends = dict(line.split() for line in running.stdout.read_text().splitlines())
    assert ends.keys() >= set(places or PLACES[:2])
    assert collections.Counter(ends.values()) == {str(code): len(ends)}


@pytest.fixture
def _listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As `__main__` does, but that no exit ends the tests."""
    monkeypatch.setattr("os._exit", lambda code: pytest.fail(f"It ended with {code}."))
    before = {number: signal.signal(number, end_at_once) for number in STOP}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_listening")
async def test_no_signal_is_lost_or_ends_it_as_the_loop_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """One comes just before Trio listens, one is left unread at the end, one comes after that."""
    listen = trio.open_signal_receiver

    def late(*numbers: int) -> object:
        signal.raise_signal(signal.SIGTERM)
        return listen(*numbers)

    monkeypatch.setattr(trio, "open_signal_receiver", late)
    with trio.fail_after(20):
        with receive(*STOP) as signals:
            assert await anext(signals) == signal.SIGTERM
            signal.raise_signal(signal.SIGINT)
            await trio.testing.wait_all_tasks_blocked()
        for number in STOP:
            signal.raise_signal(number)
        await trio.testing.wait_all_tasks_blocked()


@pytest.mark.nightly
def test_a_stop_of_a_group_does_not_wait_for_workers_that_start(config: Path, tmp_path: Path) -> None:
    with started(["run", "--processes", "2", "--config", str(config)], directory=tmp_path / "run") as running:
        running.wait_for(r"group\.started")
        assert running.stop() == 0
    assert "broker." not in running.output()
