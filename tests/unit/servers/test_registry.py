"""Kinds of servers, and what a new one takes: a folder and a line."""

import json
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest

from restbroker.config.load import load
from restbroker.config.target import Target, Url
from restbroker.errors import ConfigError
from restbroker.job.command import Catalogue
from restbroker.servers import registry
from restbroker.servers.allowed_commands import AllowedCommands
from restbroker.servers.contract import Ports
from restbroker.servers.ejabberd.options import Options

TARGET = Target("t", "ejabberd", Url("http", "127.0.0.1", 5281, "/api"), ("rest",), options=Options())
PARTS = {
    "options": """
import attrs

@attrs.frozen
class Options:
    server_version: str = "auto"
""",
    "catalogue": """
from restbroker.servers.allowed_commands import AllowedCommands
from restbroker.job.command import Catalogue

def for_version(version):
    return Catalogue(version or "2", {})

def for_target(target, found, endpoint):
    return for_version(found)
""",
    "connector": """
from types import SimpleNamespace

def open_connector(target, ports):
    return SimpleNamespace(serves=target.name)
""",
    "check": """
from restbroker.servers.findings import ok

async def check(target):
    return [ok(target.name, "Looked", "It was looked at.")]
""",
    "suggest": """
def suggest(target, allowed):
    return " ".join(allowed.commands)
""",
}


PORTS = Ports(lambda _: None, lambda: 0.0)


async def test_a_folder_and_a_line_make_a_new_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "toy_server"
    folder.mkdir()
    for name, text in PARTS.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_FOLDERS", MappingProxyType({"toy": "toy_server"}))
    file = tmp_path / "env.json"
    file.write_text(json.dumps({"RestURL": "http://127.0.0.1:1", "RestQueue": "rest", "Token": "x"}))

    target = load(file, {}, {}, registry.kinds()).config.targets[0]

    assert (target.kind, type(target.options).__module__) == ("toy", "toy_server.options")
    assert registry.catalogue("toy") == Catalogue("2", {})
    assert registry.catalogue_of(target, "1") == Catalogue("1", {})
    assert vars(registry.open_connector(target, PORTS)) == {"serves": "toy"}
    assert [finding.code for finding in await registry.check(target)] == ["Looked"]
    assert registry.suggest(target, AllowedCommands(("jump", "run"))) == "jump run"


def test_a_targets_catalogue_is_of_its_configured_version_else_of_the_one_found() -> None:
    pinned = Target("t", "ejabberd", TARGET.url, ("rest",), options=Options("23.01"))
    assert registry.catalogue_of(pinned, "24.12").version == "23.01"
    assert registry.catalogue_of(TARGET, "24.12").version == "24.12"
    assert registry.catalogue_of(TARGET, None).version == registry.catalogue("ejabberd").version
    latest = registry.catalogue_of(TARGET, None).commands["kick_user"].api_version
    assert registry.catalogue_of(TARGET, None, "kick_user/v1").commands["kick_user"].api_version < latest
    by_option = Target("t", "ejabberd", TARGET.url, ("rest",), options=Options(api_version=1))
    assert registry.catalogue_of(by_option, None).commands["kick_user"].api_version < latest
    assert registry.catalogue_of(by_option, None, "kick_user/v9").commands["kick_user"].api_version == latest


def test_an_unknown_kind_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ConfigError, match="These exist: ejabberd, "):
        registry.catalogue("jabberd14")


def test_no_server_is_imported_before_it_is_asked_for_and_its_commands_come_without_its_connector() -> None:
    code = (
        "import sys; from restbroker.servers import registry\n"
        "print('restbroker.servers.ejabberd' in sys.modules)\n"
        "registry.kinds(); registry.catalogue('ejabberd')\n"
        "print(sorted({'trio', 'httpx', 'restbroker.servers.ejabberd.connector'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n[]\n"
