"""The unit for systemd: systemd takes it as it is, it shuts off what it says, and a broker works within that."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from dev.tools.pages import ROOT
from restbroker.config.load import load
from restbroker.console.exits import Exit
from restbroker.events import registry as sources
from restbroker.servers import registry
from tests.support.answering import AnsweringServer
from tests.support.process import run, started
from tests.support.redis_server import RedisServer

UNIT: Final = ROOT / "contrib" / "restbroker.service"
READY: Final = UNIT.with_name("restbroker-ready.service")
CREDENTIALS: Final = ROOT / "contrib" / "restbroker.service.d" / "credentials.conf"
PROSODY, PROSODY_FIRST = CREDENTIALS.with_name("prosody.conf"), CREDENTIALS.with_name("prosody-first.conf")


def settings(file: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", file.read_text("utf-8"), re.MULTILINE)


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)


def calls_in(group: str) -> set[str]:
    """Every system call of a group of systemd's, and of those that it names."""
    lines = analyze("syscall-filter", group).stdout.splitlines()[1:]
    words = [word for line in lines if (word := line.strip()) and not word.startswith("#")]
    return {call for word in words for call in (calls_in(word) if word.startswith("@") else {word})}


def install(folder: Path, *parts: Path) -> list[Path]:
    """The unit, drop-ins and other units in a folder; what they start is a program that is there."""
    units = [UNIT, *(part for part in parts if part.suffix == ".service")]
    for unit in units:
        (folder / unit.name).write_text(unit.read_text("utf-8").replace("/usr/local/bin/restbroker", sys.executable))
        (folder / f"{unit.name}.d").mkdir()
    for part in (part for part in parts if part.suffix == ".conf"):
        for unit in units if part == CREDENTIALS else [UNIT]:
            # As its first lines say: of the two for Prosody, only one can be there.
            shutil.copy(part, folder / f"{unit.name}.d" / part.name.replace("prosody-first", "prosody"))
    return [folder / unit.name for unit in units]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    return install(tmp_path, CREDENTIALS, PROSODY)[0]


def test_systemd_has_nothing_to_say_of_any_combination(tmp_path: Path) -> None:
    """Among the services that it needs, which are all started; a circle would be named."""
    needed = {word for words in settings(UNIT, "After") for word in words.split() if word.endswith(".service")}
    assert {"redis-server.service", "valkey-server.service", "ejabberd.service", "rabbitmq-server.service"} < needed
    for prosody in ((), (PROSODY, READY), (PROSODY_FIRST,), (PROSODY, PROSODY_FIRST)):
        for more in ((), (CREDENTIALS,)):
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            folder.mkdir()
            for name in (*needed, "prosody.service"):
                (folder / name).write_text(f"[Service]\nExecStart={sys.executable}\n")
            (folder / "all.target").write_text(f"[Unit]\nWants={' '.join(unit.name for unit in folder.iterdir())}\n")
            install(folder, *prosody, *more)
            done = analyze(
                "verify", "--man=no", *map(str, folder.glob("*.target")), *map(str, folder.glob("*.service"))
            )
            assert (done.returncode, done.stdout + done.stderr) == (0, ""), prosody


def test_what_restbroker_needs_stops_after_it_and_nothing_waits_for_it() -> None:
    assert settings(UNIT, "TimeoutStartSec") == []
    assert {"After", "Before"} & {line.partition("=")[0] for line in PROSODY.read_text().splitlines()} == {"Before"}
    assert settings(PROSODY_FIRST, "After") == settings(READY, "Before") == ["prosody.service"]
    assert settings(READY, "WantedBy") == ["prosody.service"]
    assert (settings(READY, "After"), settings(READY, "PartOf")) == (["restbroker.service"], ["restbroker.service"])
    assert settings(READY, "TimeoutStartSec") == ["55"]


def test_unit_is_little_exposed_and_its_user_is_not_root(installed: Path) -> None:
    # 15 stands for 1.5 of 10; what is left is the network, and what the unit says is left open.
    done = analyze("security", "--offline=true", "--threshold=15", "--no-pager", str(installed))
    assert done.returncode == 0, done.stdout
    assert settings(UNIT, "User") == ["restbroker"]


def test_unit_does_not_try_a_wrong_configuration_again() -> None:
    assert settings(UNIT, "RestartPreventExitStatus") == [str(int(Exit.USAGE))]


def test_prosody_starts_once_it_is_ready() -> None:
    assert settings(UNIT, "Type") == ["notify"]
    assert settings(PROSODY, "Before") == ["prosody.service"]


def test_the_credentials_reach_the_configuration(tmp_path: Path) -> None:
    names = [credential.partition(":")[0] for credential in settings(CREDENTIALS, "LoadCredential")]
    for name in names:
        (tmp_path / name).write_text(f"the-{name}-of-the-service\n")
    environ = dict(line.replace("%d", str(tmp_path)).split("=", 1) for line in settings(CREDENTIALS, "Environment"))
    file = tmp_path / "env.json"
    file.write_text(json.dumps({"RestQueue": "rest", "RestUser": "admin@example.org"}))
    found = load(file, environ, {}, registry.kinds(), sources.kinds())
    assert names == ["token", "password"]
    assert {Path(path).name for path in environ.values()} == set(names)
    assert found.config.targets


@pytest.mark.nightly
def test_each_system_call_of_a_broker_is_allowed_by_its_unit(tmp_path: Path, redis_server: RedisServer) -> None:
    allowed, forbidden = settings(UNIT, "SystemCallFilter")
    within = calls_in(allowed) - set[str]().union(*map(calls_in, forbidden.removeprefix("~").split()))
    calls = tmp_path / "calls"
    traced = ("strace", "-f", "-qq", "-o", str(calls), sys.executable, "-m", "restbroker")
    with AnsweringServer() as server:
        document = {
            "RedisURL": redis_server.url, "RestURL": f"http://127.0.0.1:{server.port}", "RestQueue": "rest",
            "Token": "a-token", "Stats": True, "StatsPort": 0, "HealthBind": "127.0.0.1:0", "Processes": 2,
        }  # fmt: skip
        (tmp_path / "env.json").write_text(json.dumps(document))
        with started(["run"], directory=tmp_path, command=traced) as broker:
            group = int(broker.wait_for(r"pid=(\d+)")[1])
            assert run(["enqueue", "--wait", "status"], directory=tmp_path).returncode == 0
            os.kill(group, signal.SIGTERM)
            assert broker.wait() == 0
    made = set(re.findall(r"^\d+ +(\w+)\(", calls.read_text(errors="replace"), re.MULTILINE))
    assert len(made) > 20
    assert made - within == set()
