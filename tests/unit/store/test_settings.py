"""What a connection to Redis is made of; nothing secret is shown."""

from pathlib import Path

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.errors import ConfigError
from restbroker.store.settings import Endpoint, StoreSettings, Tls, endpoint_of


def test_a_login_beside_the_url_wins_over_the_one_in_it() -> None:
    settings = StoreSettings("redis://u:in-url@h:7000/3", username="user", password=Secret("given"), client_name="me")
    endpoint = endpoint_of(settings, 3.0)
    assert endpoint == Endpoint("h", 7000, None, 3, "user", Secret("given"), "me")
    assert endpoint.address == "h:7000"
    assert list(endpoint.greeting) == [("AUTH", "user", "given"), ("CLIENT", "SETNAME", "me"), ("SELECT", 3)]
    assert "given" not in repr(endpoint)


def test_the_urls_own_login_counts_where_no_other_is_given() -> None:
    endpoint = endpoint_of(StoreSettings("redis://u%40x:p%2Fp@h"), 3.0)
    assert (endpoint.username, endpoint.password, endpoint.address) == ("u@x", Secret("p/p"), "h:6379")
    only_password = endpoint_of(StoreSettings("redis://:p@h", client_name=""), 3.0)
    assert list(only_password.greeting) == [("AUTH", "p")]


def test_socket_is_named_by_its_path_and_its_database_by_query() -> None:
    endpoint = endpoint_of(StoreSettings("unix:///run/a%20b.sock?db=2"), 3.0)
    assert (endpoint.path, endpoint.database, endpoint.address) == ("/run/a b.sock", 2, "/run/a b.sock")


def test_connecting_is_given_up_soon_where_another_may_be_master() -> None:
    settings = StoreSettings("redis://h", sentinels=(("s", 1),), master="m")
    for timeout_s, connect_timeout_s in ((3.0, 1.0), (0.5, 0.5)):
        endpoint = endpoint_of(settings, timeout_s)
        assert (endpoint.timeout_s, endpoint.connect_timeout_s) == (timeout_s, connect_timeout_s)


def test_server_proves_its_identity_unless_configured_otherwise() -> None:
    settings = StoreSettings("rediss://h", ca_file=Path("/ca"), cert_file=Path("/cert"), key_file=Path("/key"))
    assert endpoint_of(settings, 3.0).tls == Tls("/ca", "/cert", "/key", "required", checks_name=True)
    assert endpoint_of(attrs.evolve(settings, url="redis://h"), 3.0).tls is None
    loose = Tls(verification="none", checks_name=False)
    assert endpoint_of(StoreSettings("rediss://h", verify=False), 3.0).tls == loose
    assert endpoint_of(StoreSettings("rediss://h?ssl_cert_reqs=none"), 3.0).tls == loose
    in_url = StoreSettings("rediss://h?ssl_ca_certs=/u&ssl_check_hostname=false")
    assert endpoint_of(in_url, 3.0).tls == Tls("/u", checks_name=False)


def test_unreadable_url_is_an_error_that_hides_it() -> None:
    for url in (
        "http://h",
        "redis://:s3cret@h:port",
        "redis://:pa/s3cret@h",
        "redis://h:99999999/s3cret?x=%",
        "redis://h?no_such_option=1",
        "redis://h?socket_timeout=99",
        "redis://h?db=s3cret",
        "rediss://h?ssl_cert_reqs=s3cret",
    ):
        with pytest.raises(ConfigError, match="RedisURL cannot be read") as caught:
            endpoint_of(StoreSettings(url), 3.0)
        assert "s3cret" not in str(caught.value) + str(caught.value.hint)
        assert "redis://HOST:PORT/DB" in (caught.value.hint or "")
        assert caught.value.__suppress_context__
