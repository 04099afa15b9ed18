"""`restbroker check`: exit codes, forms of output, secrets, targets and services; and a Redis that is too old."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.cli.conftest import Shell, configure
from tests.support.ejabberd import Ejabberd
from tests.support.fake_redis import fake_redis
from tests.support.ports import free_port
from tests.support.process import started
from tests.support.terminal import on_a_terminal

SECRET = "hush-hush-of-16-letters"
AWAY = "redis://127.0.0.1:1"
Check = Callable[..., CompletedProcess[str]]


@pytest.fixture
def keys() -> Mapping[str, Any]:
    return {"RedisNamespace": None, "Token": SECRET}


@pytest.fixture
def check(place: Path, shell: Shell) -> Check:
    """Run `check` with these words and a changed configuration: it shows no secret."""

    def run(*words: str, **changes: Any) -> CompletedProcess[str]:
        configure(place, **changes)
        (place / "env.json").chmod(0o600)
        done = shell("check", *words)
        assert not [text for text in (SECRET, "Traceback") if text in done.stdout + done.stderr]
        return done

    return run


@pytest.fixture
def right(place: Path, ejabberd: Ejabberd) -> Mapping[str, str]:
    """Have the configuration fit a real server."""
    login = {"RestUser": ejabberd.admin, "RestPass": ejabberd.password}
    used = {"RestURL": ejabberd.url, "JabberDomain": "example.org", **login}
    configure(place, **used)
    return used


def test_a_screen_full_of_findings_ends_with_the_problems(place: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    for count, times in ((1, 1), (21, 2)):
        targets = {f"t{n}": {"Kind": "ejabberd", "URL": url, "Queues": [f"q{n}"]} for n in range(count)}
        (place / "env.json").write_text(json.dumps({"RedisURL": AWAY, "Token": SECRET, "Targets": targets}))
        shown = re.sub(r"\x1b\[[\d;]*m", "", on_a_terminal(["check"], place, columns=200))
        assert len(re.findall(r"  Unreachable\b", shown)) == times * (count + 1)
        assert ("once more" in shown) == (times > 1)


@pytest.mark.usefixtures("right")
def test_working_setup_exits_0_with_a_line_for_each_part(check: Check) -> None:
    done = check()
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert (done.returncode, {len(line) for line in lines}) == (0, {6})
    assert {area for _, area, *_ in lines} == {"config", "redis", "ejabberd"}
    assert ["ok", "ejabberd", "Host"] in [line[:3] for line in lines]
    assert done.stderr.startswith("0 problems, ")


@pytest.mark.parametrize(
    ("changes", "code", "expected"),
    [
        ({"RestQueu": "x"}, "Unusable", 2),
        ({"RedisURL": AWAY}, "Unreachable", 3),
        ({"RestPass": SECRET}, "LoginRefused", 4),
        ({"RestUser": "limited@localhost"}, "CommandForbidden", 4),
        ({"RestURL": "http://127.0.0.1:1/api"}, "Unreachable", 5),
        ({"JabberDomain": "nowhere.test"}, "UnknownHost", 1),
    ],
)
@pytest.mark.usefixtures("right")
def test_each_kind_of_problem_has_its_exit_code(
    check: Check, changes: dict[str, str], code: str, expected: int
) -> None:
    done = check("--json", **changes)
    report = json.loads(done.stdout)
    assert (done.returncode, report["exit_code"]) == (expected, expected)
    (problem,) = [found for found in report["findings"] if found["level"] == "problem"]
    assert problem["code"] == code
    assert problem["why"]
    assert problem["hint"]
    # The other half is checked even so.
    other = {3: ["ejabberd", "Rights"], 5: ["redis", "Version"]}.get(expected)
    assert other is None or other in [[found["area"], found["code"]] for found in report["findings"]]


def test_a_target_is_tested_alone_without_redis(check: Check, right: Mapping[str, str]) -> None:
    rows: list[tuple[dict[str, str], int, str]] = [
        ({}, 0, "Reachable"),
        ({"RestPass": "wrong"}, 4, "LoginRefused"),
        ({"RestURL": f"http://127.0.0.1:{free_port()}/api"}, 5, "Unreachable"),
        ({"RestURL": right["RestURL"].replace("/api", "/elsewhere")}, 1, "NotTheApi"),
    ]
    for changes, code, found in rows:
        done = check("--target", "ejabberd", RedisURL=AWAY, **{**right, **changes})
        assert (done.returncode, "redis" in done.stdout) == (code, False), done.stdout
        assert f"\t{found}\t" in done.stdout
    assert check("--target", "ejabber").returncode == 2


@pytest.mark.promise(
    "Security: who has an account on the host, or controls the configuration", "to read or change files"
)
def test_a_file_with_a_secret_that_all_may_read_is_warned_of(place: Path, shell: Shell) -> None:
    (place / "env.json").chmod(0o644)
    assert "holds secrets" in shell("check").stdout
    configure(place, RestPass="", Token="")
    path = place / "env.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if value}))
    assert "holds secrets" not in shell("check", environ={"RESTBROKER_TOKEN": SECRET}).stdout


@pytest.mark.promise(
    "Security: who has an account on the host, or controls the configuration", "to read or change files"
)
def test_a_file_that_everybody_may_change_is_warned_of(place: Path, shell: Shell) -> None:
    path = place / "env.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "Token"}))
    path.chmod(0o662)
    assert "WorldWritable" in shell("check", environ={"RESTBROKER_TOKEN": SECRET}).stdout


def test_the_broker_refuses_an_old_redis_by_name(place: Path, shell: Shell) -> None:
    with fake_redis("redis_version:6.2.14") as url:
        configure(place, RedisURL=url)
        done = shell("run")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "Redis 6.2.14" in done.stderr
    assert "Use Redis 7.0 or newer" in done.stderr


def test_a_service_is_away_served_or_of_another_secret(place: Path, check: Check) -> None:
    def services(secret: str) -> dict[str, Any]:
        source = {"Kind": "prosody-rest", "Path": "/events/a", "Queue": "events", "Class": "Event", "Secret": secret}
        return {
            "Roster": {"Listen": roster, "Auth": {"Basic": {"User": "prosody", "Pass": secret}}},
            "Events": {"Listen": events, "Sources": {"a": source}},
        }

    def found(secret: str) -> dict[str, tuple[str, str]]:
        findings = json.loads(check("--json", **services(secret)).stdout)["findings"]
        return {
            finding["area"]: (finding["level"], finding["code"])
            for finding in findings
            if finding["area"] in {"Roster", "Events"}
        }

    roster, events = (f"127.0.0.1:{free_port()}" for _ in range(2))
    assert found(SECRET) == dict.fromkeys(("Roster", "Events"), ("warning", "NotServing"))
    with started(["run"], directory=place) as broker:
        broker.wait_for("listening what=rosters")
        broker.wait_for("listening what=events")
        assert found(SECRET) == dict.fromkeys(("Roster", "Events"), ("ok", "Serving"))
        assert found("another-" + SECRET) == dict.fromkeys(("Roster", "Events"), ("problem", "NotOurs"))
        assert broker.stop() == 0
