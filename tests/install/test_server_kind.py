"""The example of a server kind: it installs from its folder beside restbroker, works there, and its tests pass."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.player import Player, recorded
from tests.support.process import clean_environment, run
from tests.support.server_kind import PAGE, beside, installed
from tools.pages import ROOT

EXAMPLE: Final = ROOT / "examples" / "server-kind"
RECORDED: Final = EXAMPLE / "tests" / "recorded" / "synapse-1.163.2"
"""A whole path, so that the player does not look for it below its own folder."""


@pytest.fixture(scope="module")
def synapse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the example is installed."""
    return installed(EXAMPLE, tmp_path_factory.mktemp("synapse"))


def configured(url: str, place: Path, token: str = "TOKEN") -> None:
    whole = json.loads((EXAMPLE / "env.json").read_text("utf-8"))
    del whole["TokenFile"]
    whole["Targets"]["matrix"] |= {"URL": url, "Auth": {"Bearer": {"Token": token}}}
    (place / "env.json").write_text(json.dumps(whole | {"Token": "right-token"}))


def found(place: Path, synapse: Path) -> list[tuple[str, str, Any]]:
    told = json.loads(run(["check", "--json"], directory=place, environ=beside(synapse)).stdout)["findings"]
    return [(one["level"], one["code"], one["message"]) for one in told if one["area"] == "matrix"]


def test_restbroker_lists_the_kind_its_package_and_its_commands(synapse: Path, tmp_path: Path) -> None:
    configured("http://127.0.0.1:1", tmp_path)
    kinds = run(["commands", "--kinds"], directory=tmp_path, environ=beside(synapse)).stdout.splitlines()
    assert "synapse\trestbroker-synapse 1.0\tMatrix's Synapse: its users, through its administration API." in kinds
    listed = run(["commands", "--target", "matrix"], directory=tmp_path, environ=beside(synapse)).stdout.splitlines()
    assert {line.split("\t")[0] for line in listed} == {
        "set_user",
        "get_user",
        "list_users",
        "deactivate_user",
        "reset_password",
        "set_admin",
    }


def test_a_configuration_with_it_is_read_and_one_without_its_domain_is_refused(synapse: Path, tmp_path: Path) -> None:
    configured("http://127.0.0.1:1", tmp_path)
    shown = run(["config", "show", "--json"], directory=tmp_path, environ=beside(synapse))
    assert json.loads(shown.stdout)["Targets"]["value"]["matrix"]["Auth"] == {"Bearer": {"Token": "…"}}
    whole = json.loads((tmp_path / "env.json").read_text())
    del whole["Targets"]["matrix"]["Domain"]
    (tmp_path / "env.json").write_text(json.dumps(whole))
    refused = run(["config", "show"], directory=tmp_path, environ=beside(synapse))
    assert (refused.returncode, "Targets.matrix.Domain: must be given" in refused.stderr) == (2, True)


def test_check_says_what_the_recorded_synapse_answers_to_each_login(synapse: Path, tmp_path: Path) -> None:
    with Player(recorded(str(RECORDED))) as server:
        configured(f"http://127.0.0.1:{server.port}", tmp_path)
        ((level, code, message),) = found(tmp_path, synapse)
        assert (level, code, "Synapse 1.163.2 answers." in message) == ("ok", "Reachable", True)
        configured(f"http://127.0.0.1:{server.port}", tmp_path, "PLAIN")
        ((level, code, message),) = found(tmp_path, synapse)
        assert (level, code, "You are not a server admin" in message) == ("problem", "LoginRefused", True)


def test_its_own_tests_pass_beside_what_was_installed(synapse: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:valkey", "-p", "no:cacheprovider", "-q"]
    done = subprocess.run(
        command,
        cwd=EXAMPLE, env=clean_environment(beside(synapse)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_imports_nothing_of_restbroker_but_what_the_page_lists() -> None:
    public = re.findall(r"`(restbroker\.[\w.]+)`", PAGE.read_text("utf-8").partition("## What you may import")[2])
    imported = {
        node.module
        for file in EXAMPLE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("restbroker.")
    }
    assert imported
    assert {one for one in imported if one not in public and one.rpartition(".")[0] not in public} == set()
