"""What a connection to Redis is made of; nothing of it is repeated, and nothing secret is told."""

from pathlib import Path

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.errors import ConfigError
from restbroker.store.settings import StoreSettings, address_of, connection_of, connection_options


def test_our_options_win_over_those_in_the_url() -> None:
    url = "redis://u:in-url@h:7000/3?socket_timeout=99&decode_responses=yes"
    options = connection_options(StoreSettings(url, username="user", password=Secret("given"), client_name="me"), 3.0)
    assert (options["host"], options["port"], options["db"]) == ("h", 7000, 3)
    assert (options["username"], options["password"], options["client_name"]) == ("user", "given", "me")
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (3.0, 3.0)
    assert (options["decode_responses"], options["protocol"]) == (False, 2)
    assert options["retry"].get_retries() == 0
    assert address_of(options) == "h:7000"


def test_the_urls_own_login_counts_where_no_other_is_given() -> None:
    options = connection_options(StoreSettings("redis://u:p@h"), 3.0)
    assert (options["username"], options["password"]) == ("u", "p")
    assert address_of(options) == "h:6379"
    assert address_of(connection_options(StoreSettings("unix:///run/r.sock?db=2"), 3.0)) == "/run/r.sock"
    assert address_of({}) == "localhost:6379"


def test_where_sentinels_may_know_another_master_connecting_to_one_is_given_up_soon() -> None:
    settings = StoreSettings("redis://h", sentinels=(("s", 1),), master="m")
    for timeout_s, connect_s in ((3.0, 1.0), (0.5, 0.5)):
        options = connection_options(settings, timeout_s)
        assert (options["socket_timeout"], options["socket_connect_timeout"]) == (timeout_s, connect_s)


def test_a_server_proves_who_it_is_unless_the_operator_says_otherwise() -> None:
    settings = StoreSettings("rediss://h", ca_file=Path("/ca"), cert_file=Path("/cert"), key_file=Path("/key"))
    options = connection_options(settings, 3.0)
    assert [options[name] for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")] == ["/ca", "/cert", "/key"]
    assert "ssl_cert_reqs" not in options
    loose = connection_options(StoreSettings("rediss://h", verify=False), 3.0)
    assert (loose["ssl_cert_reqs"], loose["ssl_check_hostname"]) == ("none", False)
    assert "ssl_ca_certs" not in loose
    assert not [name for name in connection_options(attrs.evolve(settings, url="redis://h"), 3.0) if "ssl" in name]


def test_a_url_that_cannot_be_read_is_an_error_that_shows_nothing_of_it() -> None:
    for url in (
        "http://h",
        "redis://:s3cret@h:port",
        "redis://:pa/s3cret@h",
        "redis://h:99999999/s3cret?x=%",
        "redis://h?no_such_option=1",
    ):
        with pytest.raises(ConfigError, match="RedisURL cannot be read") as caught:
            connection_of(connection_options(StoreSettings(url), 3.0))
        assert "s3cret" not in str(caught.value) + str(caught.value.cure)
        assert "redis://HOST:PORT/DB" in (caught.value.cure or "")
        assert caught.value.__suppress_context__
