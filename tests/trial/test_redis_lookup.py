"""The demo's own Redis: which server it takes, how it runs and how it fails."""

from pathlib import Path

import pytest
import trio

from restbroker.errors import RestbrokerError
from restbroker.store.settings import StoreSettings
from restbroker.trial import redis_server
from restbroker.trial.witness import open_redis
from tests.support.ports import accepts
from tests.support.redis_server import redis_binary


def program(folder: Path, name: str, text: str = "#!/bin/sh\nexit 0\n") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_named_server_precedes_one_on_the_path_and_the_wheels(tmp_path: Path) -> None:
    named, on_path = program(tmp_path, "mine"), program(tmp_path / "bin", "valkey-server")
    path = {"PATH": str(on_path.parent)}
    assert redis_server.find_server({"RESTBROKER_REDIS_SERVER": str(named), **path}) == named
    assert redis_server.find_server(path) == on_path
    assert redis_server.find_server({"PATH": str(tmp_path)}) == redis_server.wheel_binary() is not None
    with pytest.raises(RestbrokerError, match=r"no-such-server(?s:.*)RESTBROKER_REDIS_SERVER"):
        redis_server.find_server({"RESTBROKER_REDIS_SERVER": "no-such-server", **path})


def test_without_any_server_both_installs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "find_spec", lambda _: None)
    with pytest.raises(RestbrokerError, match="No Redis server") as caught:
        redis_server.find_server({"PATH": str(tmp_path)})
    assert "extra [demo]" in str(caught.value)
    assert "apt-get install redis-server" in str(caught.value)


async def test_server_answers_once_it_has_a_port_and_ends_with_task(tmp_path: Path) -> None:
    binary = redis_binary()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(redis_server.serve, binary, tmp_path)
        with open_redis(StoreSettings(f"redis://127.0.0.1:{port}/0")) as redis:
            assert redis.set("k", "v")
        nursery.cancel_scope.cancel()
    assert not accepts(port)


async def test_a_server_that_does_not_start_is_an_error_with_its_words(tmp_path: Path) -> None:
    broken = program(tmp_path, "broken", "#!/bin/sh\necho 'no room on device'\nexit 3\n")
    with pytest.RaisesGroup(pytest.RaisesExc(RestbrokerError, match="no room on device")):
        async with trio.open_nursery() as nursery:
            await nursery.start(redis_server.serve, broken, tmp_path)
