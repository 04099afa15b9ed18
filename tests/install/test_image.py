"""Dockerfile and Compose file, as far as they can be seen without Docker, and their ejabberd.yml on a real ejabberd."""

import json
import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

from dev.tools.pages import ROOT
from restbroker.cli.app import COMMANDS
from restbroker.config.load import load
from restbroker.events import registry as sources
from restbroker.servers import registry
from tests.install.manifests import COMPOSE, composed, loaded, texts
from tests.support import ejabberd
from tests.support.ejabberd import PASSWORD, Ejabberd
from tests.support.ports import free_port
from tests.support.process import run, started
from tests.support.redis_server import RedisServer

IMAGE: Final = ROOT / "contrib" / "image"
TEXT: Final = (IMAGE / "Dockerfile").read_text("utf-8")
STEPS: Final = re.findall(r"^([A-Z]+) (.*)$", TEXT, re.MULTILINE)
FINAL: Final = dict(re.findall(r"^([A-Z]+) (.*)$", TEXT.rpartition("\nFROM ")[2], re.MULTILINE))


def test_image_does_only_what_the_tested_script_does() -> None:
    script = "sh /tmp/install.sh "
    done = [words.removesuffix(" && rm /tmp/install.sh") for step, words in STEPS if step == "RUN"]
    assert done == [f"{script}tools", f"{script}build /src", f"{script}run"]
    tried = (IMAGE / "try.sh").read_text("utf-8")
    assert [words for words in done if words not in tried] == []


def test_entry_point_and_health_check_are_commands(tmp_path: Path) -> None:
    assert FINAL["ENTRYPOINT"] == '["tini", "-g", "--", "restbroker"]'
    assert FINAL["CMD"] == '["run"]'
    assert 'CMD ["restbroker", "health"]' in FINAL["HEALTHCHECK"]
    assert {"run", "health"} <= set(COMMANDS)
    # The address that is asked is one that the image itself sets, so that there is one.
    environ = dict(word.split("=", 1) for word in FINAL["ENV"].split() if word.startswith("RESTBROKER_"))
    file = tmp_path / "env.json"
    file.write_text('{"RestQueue": "rest", "Token": "a-token"}')
    assert load(file, environ, {}, registry.kinds(), sources.kinds()).config.health_bind == ("127.0.0.1", 8090)


def test_copied_files_are_all_the_wheel_is_built_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {
        *wheel["packages"],
        wheel["hooks"]["custom"]["path"],
        "dev/__init__.py",
        "dev/tools/__init__.py",
        "dev/tools/man_pages.py",
        "docs/configuration.md",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    }
    taken = set(re.findall(r"^!(\S+)$", (IMAGE / "Dockerfile.dockerignore").read_text("utf-8"), re.MULTILINE))
    assert needed - taken == set()
    (listed,) = re.findall(
        r"^git ls-files .* -- (.*?) \\\n  \|", (IMAGE / "try.sh").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert needed - set(listed.split()) == set()
    copied = {words.split()[0] for step, words in STEPS if step == "COPY" and not words.startswith("--from")}
    assert copied == {".", "contrib/image/install.sh"}
    assert "contrib/image/install.sh" in taken


SETTINGS: Final = (COMPOSE / "env.json").read_text("utf-8")
SECRETS: Final = {"token": "a-token", "password": PASSWORD}
BY_ADDRESS: Final = 'api_permissions:\n  "by address":\n    who:\n      ip: "127.0.0.2/32"\n    what: ["*"]\n'
"""What the test's ejabberd needs besides, to make its accounts."""


def test_files_named_by_a_service_exist() -> None:
    found = composed()
    ours = found["services"]["restbroker"]
    assert set(ours["secrets"]) == set(found["secrets"]) == set(SECRETS)
    assert (COMPOSE / ours["build"]["context"]).resolve() == ROOT
    assert (ROOT / ours["build"]["dockerfile"]).is_file()
    files = [text.split(":")[0] for text in texts(found["services"]) if text.startswith("./")]
    assert [name for name in files if not (COMPOSE / name).is_file()] == []
    # What is mounted into a service and is no file of this folder is a volume that is declared.
    volumes = {text.split(":")[0] for each in found["services"].values() for text in each.get("volumes", ())}
    assert {name for name in volumes if not name.startswith(".")} == set(found["volumes"])


def test_its_settings_are_a_configuration_for_its_services(tmp_path: Path) -> None:
    config = loaded(tmp_path, SETTINGS, {}, "/run/secrets", SECRETS)
    (target,) = config.targets
    services = composed()["services"]
    assert target.url.host in services
    assert json.loads(SETTINGS)["RedisURL"].split("/")[2].split(":")[0] in services
    granted_s = int(services["restbroker"]["stop_grace_period"].removesuffix("s"))
    assert granted_s >= config.shutdown_timeout_s + 10


@pytest.mark.nightly
def test_its_ejabberd_does_what_restbroker_asks(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (COMPOSE / "ejabberd.yml").read_text("utf-8").replace("{", "{{").replace("}", "}}")
    text = text.replace("port: 5222", f'port: {free_port()}\n    ip: "127.0.0.1"')
    text = text.replace("port: 5281", 'port: {port}\n    ip: "127.0.0.1"').replace("api_permissions:\n", BY_ADDRESS)
    monkeypatch.setattr(ejabberd, "CONFIG", text)
    server = Ejabberd(tmp_path / "ejabberd", ("example.org",))
    (tmp_path / "secrets").mkdir()
    loaded(tmp_path / "secrets", SETTINGS, {}, "/run/secrets", SECRETS)
    settings = json.loads((tmp_path / "secrets" / "env.json").read_text())
    (tmp_path / "env.json").write_text(json.dumps({**settings, "RedisURL": redis_server.url, "RestURL": server.url}))
    server.start()
    try:
        with started(["run"], directory=tmp_path) as broker:
            done = run(["enqueue", "--wait", "register", "user=bob", "password=secret"], directory=tmp_path)
            assert (done.returncode, "successfully registered" in done.stdout) == (0, True), done.stderr
            assert broker.stop() == 0
    finally:
        server.kill()
