"""Both examples of a server kind beside restbroker: their own tests pass, and Synapse's works on recorded answers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.player import Player, recorded
from tests.support.process import clean_environment, run
from tests.support.server_kind import CHATTER, beside, installed, written

EXAMPLE: Final = CHATTER.parent
RECORDED: Final = EXAMPLE / "tests" / "recorded" / "synapse-1.163.2"
"""A whole path, so that the player does not look for it below its own folder."""


@pytest.fixture(scope="module")
def synapse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the example is installed."""
    return installed(EXAMPLE, tmp_path_factory.mktemp("synapse"))


def configured(url: str, place: Path, token: str = "TOKEN", without: str = "") -> None:
    whole = json.loads((EXAMPLE / "env.json").read_text("utf-8"))
    del whole["TokenFile"]
    target = {**whole["Targets"]["matrix"], "URL": url, "Auth": {"Bearer": {"Token": token}}}
    whole["Targets"]["matrix"] = {key: value for key, value in target.items() if key != without}
    (place / "env.json").write_text(json.dumps(whole | {"Token": "right-token"}))


def found(place: Path, synapse: Path) -> list[tuple[str, str, Any]]:
    findings = json.loads(run(["check", "--json"], directory=place, environ=beside(synapse)).stdout)["findings"]
    return [(row["level"], row["code"], row["message"]) for row in findings if row["area"] == "matrix"]


def test_synapse_is_listed_and_needs_its_domain(synapse: Path, tmp_path: Path) -> None:
    configured("http://127.0.0.1:1", tmp_path)
    kinds = run(["commands", "--kinds"], directory=tmp_path, environ=beside(synapse)).stdout.splitlines()
    assert "synapse\trestbroker-synapse 1.0\tMatrix's Synapse: its users, through its administration API." in kinds
    listed = run(["commands", "--target", "matrix"], directory=tmp_path, environ=beside(synapse)).stdout.splitlines()
    names = {"set_user", "get_user", "list_users", "deactivate_user", "reset_password", "set_admin"}
    assert {line.split("\t")[0] for line in listed} == names
    configured("http://127.0.0.1:1", tmp_path, without="Domain")
    refused = run(["config", "show"], directory=tmp_path, environ=beside(synapse))
    assert (refused.returncode, "Targets.matrix.Domain: must be given" in refused.stderr) == (2, True)


def test_check_says_which_login_synapse_takes(synapse: Path, tmp_path: Path) -> None:
    with Player(recorded(str(RECORDED))) as server:
        configured(f"http://127.0.0.1:{server.port}", tmp_path)
        ((level, code, message),) = found(tmp_path, synapse)
        assert (level, code, "Synapse 1.163.2 answers." in message) == ("ok", "Reachable", True)
        configured(f"http://127.0.0.1:{server.port}", tmp_path, "PLAIN")
        ((level, code, message),) = found(tmp_path, synapse)
        assert (level, code, "You are not a server admin" in message) == ("problem", "LoginRefused", True)


@pytest.mark.parametrize("name", ["chatter", "synapse"])
def test_its_own_tests_pass(name: str, synapse: Path, tmp_path: Path) -> None:
    place, lib = EXAMPLE, synapse
    if name == "chatter":
        place = written(tmp_path / "package")
        lib = installed(place, tmp_path / "lib")
    command = [sys.executable, "-m", "pytest", "-p", "no:valkey", "-p", "no:cacheprovider", "-q", "tests"]
    done = subprocess.run(
        command, cwd=place, env=clean_environment(beside(lib)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
