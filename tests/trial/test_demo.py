"""`restbroker demo` as people run it: on either Redis, to the end, kept up, interrupted, gone wrong."""

import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from restbroker.errors import RestbrokerError
from restbroker.trial import brokers, demo
from tests.support import process
from tests.support.ports import accepts
from tests.support.redis_server import redis_binary


def environment(folder: Path) -> Mapping[str, str]:
    return {"RESTBROKER_REDIS_SERVER": str(redis_binary()), "TMPDIR": str(folder)}


def without_time(text: str) -> str:
    return re.sub(r"in [\d.]+ s", "in … s", " ".join(text.split()))


def nothing_is_left(folder: Path, printed: str) -> bool:
    ports = [int(port) for port in re.findall(r"on port (\d+)", printed)]
    assert len(ports) == 2, printed
    return not list(folder.glob("restbroker-demo-*")) and not any(accepts(port) for port in ports)


@pytest.mark.slow
def test_the_demo_keeps_its_promises_and_leaves_nothing(tmp_path: Path) -> None:
    settings = {"RESTBROKER_RESTQUEUE": "mine", "RESTBROKER_TOKEN": "mine", "RESTBROKER_CONFIG": "/no/such/file"}
    done = process.run(["demo"], environ={**environment(tmp_path), **settings})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All as promised: 15 checks" in without_time(done.stdout)
    assert "\x1b" not in done.stdout
    assert nothing_is_left(tmp_path, done.stdout)


@pytest.mark.nightly
def test_with_stay_everything_is_up_until_ctrl_c(tmp_path: Path) -> None:
    words = ["demo", "--stay"]
    with process.started(words, directory=tmp_path / "out", environ=environment(tmp_path)) as running:
        shown = running.wait_for(r"export RESTBROKER_CONFIG=(\S+)")
        running.wait_for("What the server gets:")
        assert "password=s3cret" not in running.output()
        programs = {*re.findall(r"(\S*restbroker) (?:enqueue|run|stats|dead)", running.output())}
        assert [one for one in programs if shutil.which(one) is None] == []
        environ = {"RESTBROKER_CONFIG": shown[1]}
        answered = process.run(["enqueue", "--wait", "check_account", "user=john"], environ=environ)
        assert answered.returncode == 0, answered.stderr
        running.wait_for(r'^   POST /api/check_account \{"user": "john", "host": "example.org"\}  and answered 200')
        running.signal(signal.SIGINT)
        assert running.wait() == 0
        assert nothing_is_left(tmp_path, running.output())


@pytest.mark.nightly
def test_an_interrupted_demo_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    with process.started(["demo"], directory=tmp_path / "out", environ=environment(tmp_path)) as running:
        running.wait_for("^1\\. ")
        running.signal(signal.SIGINT)
        assert running.wait() == 130
        assert "Stopping." in running.output()
        assert nothing_is_left(tmp_path, running.output())


def test_without_a_redis_server_the_demo_says_how_to_get_one() -> None:
    done = process.run_here(["demo"], environ={"RESTBROKER_REDIS_SERVER": "no-such-server"})
    assert done.returncode == 1
    assert "no-such-server" in done.stderr
    assert done.stdout == ""


def test_a_broker_that_does_not_do_its_work_fails_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "COMMAND", ("sh", "-c", "echo 'I would rather not'; exit 3"))
    monkeypatch.setattr("os.environ", {**process.clean_environment(), **environment(tmp_path)})
    expected = pytest.RaisesExc(RestbrokerError, match=r"with 3.*(?s:.*)I would rather not")
    with pytest.RaisesGroup(expected, flatten_subgroups=True):
        demo.run(stay=False)
