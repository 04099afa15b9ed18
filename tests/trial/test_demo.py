"""`restbroker demo` as people run it: on either Redis, to the end, kept up, interrupted, gone wrong."""

import json
import re
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from dev.tools.pages import ROOT
from restbroker.errors import RestbrokerError
from restbroker.trial import brokers, demo
from restbroker.trial.witness import Witness, job_id
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
    assert "All as promised: 12 checks" in without_time(done.stdout)
    assert "2,000 of 2,000 accounts are made, 0 lost;" in without_time(done.stdout)
    assert re.search(r"of 500 messages 0 are lost and 0 sent twice; \d+,", without_time(done.stdout))
    found = re.search(r"of the 2,505 jobs pushed 2,(\d+) are done .* and (\d+) dead", without_time(done.stdout))
    assert found is not None
    assert int(found[1]) + int(found[2]) == 505
    assert " 0/20 " in done.stdout.partition("$ restbroker stats")[2]
    assert "\x1b" not in done.stdout
    assert nothing_is_left(tmp_path, done.stdout)


@pytest.mark.nightly
def test_with_stay_everything_is_up_until_ctrl_c(tmp_path: Path) -> None:
    words = ["demo", "--stay"]
    with process.started(words, directory=tmp_path / "out", environ=environment(tmp_path)) as running:
        pages = running.wait_for(r"Open the pages in a browser: (\S+)$")[1]
        assert httpx.get(pages, trust_env=False).status_code == 200
        _, _, tried = running.output().partition("In another terminal:")
        config = re.findall(r"export RESTBROKER_CONFIG=(\S+)", tried)[0]
        assert [
            name for name in re.findall(r"(\S*restbroker) (?:enqueue|stats|dead)", tried) if not shutil.which(name)
        ] == []
        answered = process.run(
            ["enqueue", "--wait", "check_account", "user=john"], environ={"RESTBROKER_CONFIG": config}
        )
        assert answered.returncode == 0, answered.stderr
        running.wait_for(r'^   POST /api/check_account \{"user": "john", "host": "example.org"\} → 200')
        running.signal(signal.SIGINT)
        assert running.wait() == 0
        assert nothing_is_left(tmp_path, running.output())


@pytest.mark.nightly
@pytest.mark.parametrize("last", [r"^1\. ", r"^   \$ restbroker stats", "^   ok the pages answer"])
def test_an_interrupted_demo_says_so_and_leaves_nothing(tmp_path: Path, last: str) -> None:
    with process.started(["demo"], directory=tmp_path / "out", environ=environment(tmp_path)) as running:
        running.wait_for(last)
        running.signal(signal.SIGINT)
        assert running.wait() == 130
        assert running.output().endswith("\nStopping.\n")
        assert nothing_is_left(tmp_path, running.output())


def test_without_a_redis_server_the_demo_says_how_to_get_one() -> None:
    done = process.run_here(["demo"], environ={"RESTBROKER_REDIS_SERVER": "no-such-server"})
    assert done.returncode == 1
    assert "no-such-server" in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "1,999 of 2,000 accounts are made, 1 lost"),
        pytest.param(0, "of 500 messages 1 are lost", marks=pytest.mark.nightly),
    ],
)
def test_demo_reports_a_loss_and_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str) -> None:
    """With a Redis that forgets one job of those that are on their way while restbroker is killed."""
    push = Witness.push

    def forgetful(self: Witness, queue: str, payloads: Sequence[bytes]) -> None:
        push(self, queue, [payload for payload in payloads if job_id(number).encode() not in payload])

    monkeypatch.setattr(Witness, "push", forgetful)
    monkeypatch.setattr("os.environ", {**process.clean_environment(), **environment(tmp_path)})
    with pytest.RaisesGroup(pytest.RaisesExc(RestbrokerError, match=said), flatten_subgroups=True):
        demo.run(stay=False)


def test_the_event_is_what_a_real_server_posted() -> None:
    (file,) = (ROOT / "tests" / "recorded" / "webhook").glob("mod_post_log-*.json")
    bodies = [request["body"] for request in json.loads(file.read_text("utf-8"))["requests"]]
    assert demo.DATA["event"]["body"] in bodies


def test_a_broker_that_does_not_do_its_work_fails_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "COMMAND", ("sh", "-c", "echo 'I would rather not'; exit 3"))
    monkeypatch.setattr("os.environ", {**process.clean_environment(), **environment(tmp_path)})
    expected = pytest.RaisesExc(RestbrokerError, match=r"with 3.*(?s:.*)I would rather not")
    with pytest.RaisesGroup(expected, flatten_subgroups=True):
        demo.run(stay=False)
