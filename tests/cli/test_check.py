"""`restbroker check` as a process: exit codes, forms of output, secrets; and the broker's refusal of an old Redis."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest

from tests.support.ejabberd import Ejabberd
from tests.support.fake_redis import fake_redis
from tests.support.ports import free_port
from tests.support.process import run_here as run
from tests.support.terminal import on_a_terminal

SECRET = "hush-hush"


@attrs.frozen
class Place:
    """A directory with an env.json that is right."""

    directory: Path
    document: Mapping[str, str]

    def check(self, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        path = self.directory / "env.json"
        path.write_text(json.dumps({**self.document, **changes}))
        path.chmod(0o600)
        done = run(["check", *words], directory=self.directory)
        assert SECRET not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture
def place(tmp_path: Path, redis_url: str, ejabberd: Ejabberd) -> Place:
    document = {
        "RedisURL": redis_url,
        "RestURL": ejabberd.url,
        "RestUser": ejabberd.admin,
        "RestPass": ejabberd.password,
        "JabberDomain": "example.org",
        "RestQueue": "rest",
        "Token": SECRET,
    }
    return Place(tmp_path, document)


def test_a_terminal_shows_problems_once_more_after_findings_that_fill_a_screen(tmp_path: Path, redis_url: str) -> None:
    closed = free_port()
    for count, times in ((1, 1), (21, 2)):
        targets = {
            f"t{n}": {"Kind": "ejabberd", "URL": f"http://127.0.0.1:{closed}/api", "Queues": [f"q{n}"]}
            for n in range(count)
        }
        (tmp_path / "env.json").write_text(
            json.dumps({"RedisURL": redis_url, "Token": "right-token", "Targets": targets})
        )
        shown = on_a_terminal(["check"], tmp_path, columns=200)
        assert len(re.findall(r"  Unreachable\b", re.sub(r"\x1b\[[\d;]*m", "", shown))) == times * count
        assert ("once more" in shown) == (times > 1)


def test_what_works_ends_with_0_and_a_line_for_each_thing(place: Place) -> None:
    done = place.check()
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert {len(line) for line in lines} == {6}
    assert {"config", "redis", "ejabberd"} == {area for _, area, *_ in lines}
    assert ["ok", "ejabberd", "Host"] in [line[:3] for line in lines]
    assert done.stderr.startswith("0 problems, ")


@pytest.mark.parametrize(
    ("changes", "code", "expected"),
    [
        ({"RestQueu": "x"}, "Unusable", 2),
        ({"RedisURL": "redis://127.0.0.1:1"}, "Unreachable", 3),
        ({"RestPass": SECRET}, "LoginRefused", 4),
        ({"RestUser": "limited@localhost"}, "Forbidden", 4),
        ({"RestURL": "http://127.0.0.1:1/api"}, "Unreachable", 5),
        ({"JabberDomain": "nowhere.test"}, "UnknownHost", 1),
    ],
)
def test_each_kind_of_problem_has_its_exit_code(
    place: Place, changes: dict[str, str], code: str, expected: int
) -> None:
    done = place.check("--json", **changes)
    report = json.loads(done.stdout)
    assert (done.returncode, report["exit_code"]) == (expected, expected)
    (problem,) = [found for found in report["findings"] if found["level"] == "problem"]
    assert problem["code"] == code
    assert problem["why"]
    assert problem["hint"]


def test_a_target_is_tested_alone_without_redis(place: Place) -> None:
    away = {"RedisURL": "redis://127.0.0.1:1"}
    rows: list[tuple[dict[str, str], int, str]] = [
        ({}, 0, "Reachable"),
        ({"RestPass": "wrong"}, 4, "LoginRefused"),
        ({"RestURL": f"http://127.0.0.1:{free_port()}/api"}, 5, "Unreachable"),
        ({"RestURL": place.document["RestURL"].replace("/api", "/elsewhere")}, 1, "NotTheApi"),
    ]
    for changes, code, found in rows:
        done = place.check("--target", "ejabberd", **away, **changes)
        assert (done.returncode, "redis" in done.stdout) == (code, False), done.stdout
        assert f"\t{found}\t" in done.stdout
    assert place.check("--target", "ejabber", **away).returncode == 2


def test_one_half_is_checked_while_the_other_is_away(place: Place) -> None:
    without_redis = place.check(RedisURL="redis://127.0.0.1:1").stdout
    assert "\nok\tejabberd\tRights\t" in without_redis
    without_target = place.check(RestURL="http://127.0.0.1:1").stdout
    assert "\nok\tredis\tVersion\t" in without_target


@pytest.mark.promise(
    "Security: who has an account on the host, or controls the configuration", "to read or change files"
)
def test_a_configuration_that_all_may_read_is_warned_of_if_it_holds_a_secret(place: Place) -> None:
    place.check()
    path = place.directory / "env.json"
    path.chmod(0o644)
    assert "holds secrets" in run(["check"], directory=place.directory).stdout
    shown = {key: value for key, value in place.document.items() if key not in ("Token", "RestPass", "RestUser")}
    path.write_text(json.dumps(shown))
    environ = {"RESTBROKER_TOKEN": SECRET}
    assert "holds secrets" not in run(["check"], directory=place.directory, environ=environ).stdout


@pytest.mark.promise(
    "Security: who has an account on the host, or controls the configuration", "to read or change files"
)
def test_what_everybody_may_change_is_warned_of_though_no_secret_is_in_it(place: Place) -> None:
    place.check()
    path = place.directory / "env.json"
    path.write_text(json.dumps({key: value for key, value in place.document.items() if key != "Token"}))
    path.chmod(0o662)
    said = run(["check"], directory=place.directory, environ={"RESTBROKER_TOKEN": SECRET}).stdout
    assert "WorldWritable" in said


def test_the_broker_refuses_an_old_redis_by_name(place: Place) -> None:
    with fake_redis("redis_version:6.2.14") as url:
        place.check(RedisURL=url)
        done = run(["run"], directory=place.directory)
    assert done.returncode == 1
    assert "Redis 6.2.14" in done.stderr
    assert "Use Redis 7.0 or newer" in done.stderr
    assert "Traceback" not in done.stderr
