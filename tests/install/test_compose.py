"""The Compose file, as far as it can be seen without Docker, and its ejabberd.yml on a real ejabberd."""

import json
from pathlib import Path
from typing import Final

import pytest

from tests.install.manifests import COMPOSE, composed, loaded, texts
from tests.support import ejabberd
from tests.support.ejabberd import PASSWORD, Ejabberd
from tests.support.ports import free_port
from tests.support.process import run, started
from tests.support.redis_server import RedisServer
from tools.pages import ROOT

SETTINGS: Final = (COMPOSE / "env.json").read_text("utf-8")
SECRETS: Final = {"token": "a-token", "password": PASSWORD}
BY_ADDRESS: Final = 'api_permissions:\n  "by address":\n    who:\n      ip: "127.0.0.2/32"\n    what: ["*"]\n'
"""What the test's ejabberd needs besides, to make its accounts."""


def test_what_a_service_names_is_there() -> None:
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
