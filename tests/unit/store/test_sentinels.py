# ruff: noqa: SLF001 - with which login and patience they will be asked, where none runs
"""How sentinels and the master that they name are asked: with whose login, and for how long."""

from pathlib import Path

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.errors import ConfigError
from restbroker.store.sentinel import open_sentinels
from restbroker.store.settings import Endpoint, StoreSettings, Tls

SETTINGS = StoreSettings(
    "rediss://user:in-url@unused/5", ca_file=Path("/ca"), client_name="me", sentinels=(("s", 1), ("::1", 2)), master="m"
)


@pytest.mark.parametrize("own", [None, Secret("theirs")])
def test_sentinels_are_asked_without_its_login_for_half_a_second(own: Secret | None) -> None:
    found = open_sentinels(attrs.evolve(SETTINGS, sentinel_password=own))
    assert found is not None
    asking, joining = found._asking, found._joining
    assert (joining.username, joining.password, joining.database) == ("user", Secret("in-url"), 5)
    assert joining.client_name == "me"
    assert (joining.timeout_s, joining.connect_timeout_s) == (1.0, 1.0)
    tls = Tls("/ca")
    assert joining.tls == tls
    assert asking == Endpoint(password=own, tls=tls, timeout_s=0.5, connect_timeout_s=0.5)


@pytest.mark.parametrize(("url", "master"), [("unix:///run/redis.sock", "m"), ("redis://h", None)])
def test_sentinels_need_a_name_and_no_socket(url: str, master: str | None) -> None:
    with pytest.raises(ConfigError, match="RedisSentinels needs the name") as caught:
        open_sentinels(attrs.evolve(SETTINGS, url=url, master=master))
    assert "Add RedisMaster" in (caught.value.hint or "")
