"""A real process whose configuration is changed and loaded again (SIGHUP) while it works."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.answering import AnsweringServer, Arrival
from tests.support.process import Running, started
from tests.support.several import Several, target, times_done
from tests.support.shared import TOKEN
from tests.support.wait import until

SIGNALLED_AT_EACH_IMPORT = """
import os, signal, sys
import restbroker.start  # what listens: until it is there, the process is Python's alone
from restbroker.__main__ import main

class Signaller:
    def find_spec(self, name, path=None, target=None):
        os.kill(os.getpid(), signal.SIGHUP)
        print("signalled at the import of", name, flush=True)

sys.meta_path.insert(0, Signaller())
main()
"""


@pytest.fixture
def busy_server() -> Iterator[AnsweringServer]:
    """A server that takes its time, so that each reload finds jobs on their way."""

    def work(_arrival: Arrival) -> int:
        time.sleep(0.02)
        return 200

    with AnsweringServer(work) as server:
        yield server


def reload(broker: Running, pattern: str, times: int) -> None:
    broker.signal(signal.SIGHUP)
    broker.wait_for(pattern, times=times)


@pytest.mark.promise("No command is lost", "reloads under load, also of a broken configuration")
@pytest.mark.parametrize(("reloads", "per_round"), [(6, 30), pytest.param(20, 60, marks=pytest.mark.nightly)])
def test_reloads_under_load_lose_nothing_and_repeat_nothing(
    several: Several, busy_server: AnsweringServer, tmp_path: Path, reloads: int, per_round: int
) -> None:
    port = busy_server.port
    several.configure({"one": target(port, "o")})
    with started(several.command, directory=tmp_path / "run") as broker:
        broker.wait_for(r"broker\.started")
        for number in range(reloads):
            first = 2 * number * per_round
            several.push("o", range(first, first + per_round))
            several.push("t", range(first + per_round, first + 2 * per_round))
            targets = {"one": target(port, "o", Concurrency=5 + 10 * (number % 2))}
            if number % 2:
                targets["two"] = target(port, "t")
            several.configure(targets)
            reload(broker, r"config\.reloaded", number + 1)
            if number == reloads // 2:
                several.path.write_text('{"RestQueue": "rest", "Concurrency": "many"}')
                reload(broker, r"ERROR +config\.refused .*Concurrency: expected", 1)
                several.configure(targets)
                reload(broker, r"config\.unchanged", 1)
        several.wait_until_finished()
        done = times_done(busy_server)
        assert broker.stop() == 0
        output = broker.output()
    assert sorted(done) == list(range(2 * reloads * per_round))
    assert set(done.values()) == {1}
    assert output.count("config.refused") == output.count("config.unchanged") == 1
    assert output.count("config.reloaded") == reloads
    assert several.client.command("HLEN", "restbroker:beats") == 0


def test_a_reload_beside_a_form_that_has_gone_changes_nothing(several: Several, tmp_path: Path) -> None:
    with AnsweringServer() as server:
        several.configure({"one": target(server.port, "o")})
        with started(several.command, directory=tmp_path / "run") as broker:
            broker.wait_for(r"broker\.started")
            several.client.command("HSET", "restbroker:fair:wait:t", "1000:a", "{}")
            several.configure({"one": target(server.port, "o"), "two": target(server.port, "t")})
            reload(broker, r"ERROR +config\.refused .*restbroker:fair:wait:t", 1)
            several.push("o", range(3))
            several.wait_until_finished()
            several.client.command("DEL", "restbroker:fair:wait:t")
            reload(broker, r"config\.reloaded", 1)
            assert broker.stop() == 0
    assert len(server.arrivals) == 3


@pytest.mark.nightly
@pytest.mark.parametrize("is_first", [False, True], ids=["run first", "options first"])
def test_sighup_at_whatever_import_of_the_start_ends_nothing(
    several: Several, tmp_path: Path, *, is_first: bool
) -> None:
    with AnsweringServer() as server:
        several.configure({"one": target(server.port, "o")})
        command = (sys.executable, "-c", SIGNALLED_AT_EACH_IMPORT)
        run, *options = several.command
        words = [*options, run] if is_first else [run, *options]
        with started(words, directory=tmp_path / "run", command=command) as broker:
            broker.wait_for(r"signalled at the import of restbroker\.cli\.app$")
            broker.wait_for(r"signalled at the import of trio$")
            broker.wait_for(r"broker\.started")
            several.push("o", range(3))
            several.wait_until_finished()
            assert broker.stop() == 0
    assert len(server.arrivals) == 3


@pytest.mark.nightly
def test_fifo_as_file_is_refused_without_delaying_reload_or_stop(several: Several, tmp_path: Path) -> None:
    with AnsweringServer() as server:
        several.configure({"one": target(server.port, "o")})
        with started(several.command, directory=tmp_path / "run") as broker:
            broker.wait_for(r"broker\.started")
            several.path.unlink()
            os.mkfifo(several.path)
            reload(broker, r"ERROR +config\.refused .*env\.json cannot be read: it is a FIFO", 1)
            reload(broker, r"ERROR +config\.refused", 2)
            assert broker.stop() == 0


@pytest.mark.promise("A good citizen", "no job dies of a rotation")
@pytest.mark.nightly
def test_old_token_counts_until_its_previous_file_is_removed(several: Several, tmp_path: Path) -> None:
    secret, previous, fresh = tmp_path / "token", tmp_path / "token.previous", tmp_path / "token.new"
    secret.write_text(TOKEN)
    with AnsweringServer() as server:
        targets = {"one": target(server.port, "o")}
        several.configure(targets, Token=None, Tokens={"app": {"SecretFile": str(secret)}})
        with started(several.command, directory=tmp_path / "run") as broker:
            broker.wait_for(r"broker\.started")
            previous.write_text(secret.read_text())
            both = {"SecretFile": str(secret), "PreviousSecretFile": str(previous)}
            several.configure(targets, Token=None, Tokens={"app": both})
            reload(broker, r"broker\.started", 2)
            fresh.write_text("another secret")
            fresh.replace(secret)
            several.push("o", range(10))
            several.wait_until_finished()
            several.configure(targets, Token=None, Tokens={"app": {"SecretFile": str(secret)}})
            reload(broker, r"broker\.started", 3)
            several.push("o", range(10, 20))
            until(lambda: several.unfinished() == {"dead": 10}, "the old token is refused")
            assert broker.stop() == 0
    assert times_done(server) == dict.fromkeys(range(10), 1)


@pytest.mark.promise("A good citizen", "a replaced token is refused within a second")
def test_replaced_token_is_refused_after_an_unchanged_reload(several: Several, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text(TOKEN)
    with AnsweringServer() as server:
        several.configure({"one": target(server.port, "o")}, Token=None, TokenFile=str(secret))
        with started(several.command, directory=tmp_path / "run") as broker:
            several.push("o", range(10))
            several.wait_until_finished()
            secret.write_text("another secret")
            reload(broker, r"config\.unchanged", 1)
            several.push("o", range(10, 20))
            until(lambda: several.unfinished() == {"dead": 10}, "the old token is refused")
            assert broker.stop() == 0
    assert times_done(server) == dict.fromkeys(range(10), 1)
