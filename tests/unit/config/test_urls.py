"""What the two addresses may look like, and what is refused because clients disagree on it."""

import pytest

from restbroker.config.secret import Secret
from restbroker.config.urls import BadUrl, redis_address, redis_host, rest_address, without_login


def test_redis_urls_are_read_and_lose_their_password() -> None:
    rows: list[tuple[str, str, str | None]] = [
        ("redis://localhost", "redis://localhost:6379/0", None),
        ("redis://h?db=5", "redis://h:6379/5", None),
        ("redis://[::1]:7000", "redis://[::1]:7000/0", None),
        ("rediss://h/1?ssl_cert_reqs=none", "rediss://h:6379/1?ssl_cert_reqs=none", None),
        ("valkey://h", "redis://h:6379/0", None),
        ("redis://:p%40w@h", "redis://h:6379/0", "p@w"),
        ("redis://bob:pw@h", "redis://bob@h:6379/0", "pw"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2", None),
        ("unix://bob:pw@/run/redis.sock", "unix://bob@/run/redis.sock?db=0", "pw"),
    ]
    for written, url, password in rows:
        address = redis_address(written)
        assert address.url == url, (written, url)
        assert address.password == (None if password is None else Secret(password)), (written, url)


def test_one_word_is_a_user_where_the_password_is_given_beside_the_url() -> None:
    rows: list[tuple[str, str]] = [
        ("redis://bob@h/2", "redis://bob@h:6379/2"),
        ("redis://bob:@h/2", "redis://bob@h:6379/2"),
        ("redis://b%40b@h", "redis://b%40b@h:6379/0"),
        ("redis://:@h", "redis://h:6379/0"),
        ("unix://bob@/run/redis.sock", "unix://bob@/run/redis.sock?db=0"),
    ]
    for written, url in rows:
        address = redis_address(written, password_beside=True)
        assert (address.url, address.password) == (url, None), (written, url)


def test_a_password_in_the_url_stays_one_where_another_is_given_beside_it() -> None:
    assert redis_address("redis://bob:pw@h", password_beside=True).password == Secret("pw")


def test_redis_urls_that_could_mean_another_place_are_refused_with_the_right_form() -> None:
    rows: list[tuple[str, str]] = [
        ("redis://secret@host", "redis://:PASSWORD@host"),
        ("redis://secret@host", "RedisPassFile"),
        ("redis://host/1?db=2", "twice"),
        ("redis://host?socket_timeout=9", "takes only db"),
        ("redis://:12?ss@host", "%3F"),
        ("redis://:pa#ss@host", "%23"),
        ("redis://:pa?ss@host", "percent-encoded"),
        ("redis://ho st", "blanks"),
        ("redis://[::1", "brackets"),
        ("redis-sentinel://host", "Sentinel"),
        ("unix://relative.sock", "whole path"),
        ("redis://:%00@host", "control characters"),
        ("redis://hö:1", "xn--"),
        ("rediss://h?ssl_cert_reqs=never", "none, optional, required"),
        ("rediss://h?ssl_cert_reqs=", "none, optional, required"),
    ]
    for written, expected in rows:
        with pytest.raises(BadUrl) as caught:
            redis_address(written)
        assert expected in str(caught.value), (written, expected)
        assert "secret" not in str(caught.value), (written, expected)


def test_whether_a_certificate_is_checked_is_read_in_every_clients_spelling() -> None:
    rows = {
        "none": ("none", "None", "CERT_NONE", "cert_none", "ssl.CERT_NONE", "VerifyMode.CERT_NONE", "0"),
        "optional": ("optional", "CERT_OPTIONAL", "1"),
        "required": ("required", "Required", "CERT_REQUIRED", "ssl.CERT_REQUIRED", "2"),
    }
    for value, spellings in rows.items():
        for written in spellings:
            url = redis_address(f"rediss://h?ssl_cert_reqs={written}&ssl_ca_certs=/ca.pem").url
            assert url == f"rediss://h:6379/0?ssl_cert_reqs={value}&ssl_ca_certs=%2Fca.pem", written


def test_the_database_may_come_from_either_place_but_not_differ() -> None:
    assert redis_address("redis://h", 4).url == "redis://h:6379/4"
    assert redis_address("redis://h/4", 4).url == "redis://h:6379/4"
    with pytest.raises(BadUrl, match="database 4 and RedisDatabase 5"):
        redis_address("redis://h/4", 5)


def test_a_redis_host_is_read_with_or_without_its_port_and_refused_with_more() -> None:
    read = {"h": "h:6379", "h:7000": "h:7000", "::1": "[::1]:6379", "[::1]:7000": "[::1]:7000"}
    assert {written: redis_host(written) for written in read} == {name: f"redis://{url}" for name, url in read.items()}
    for written in ("h/1", "a@h", ":7000", "h:x", "h?db=1"):
        with pytest.raises(BadUrl):
            redis_host(written)


def test_a_rest_url_may_name_a_socket() -> None:
    url = rest_address("http+unix://%2Frun%2Fx.sock/api").url
    assert (url.socket, url.path, url.host) == ("/run/x.sock", "/api", "localhost")


def test_rest_urls_that_cannot_work_are_refused() -> None:
    rows: list[tuple[str, str]] = [
        ("http://h/api#x", '"?" or "#"'),
        ("http+unix://run/x.sock", "whole path"),
        ("http://", "names no host"),
        ("http://user@h", "USER:PASSWORD"),
        ("http://h//x", "without . or .."),
        ("http://h/ä", "percent-encoded"),
    ]
    for written, expected in rows:
        with pytest.raises(BadUrl) as caught:
            rest_address(written)
        assert expected in str(caught.value), (written, expected)


def test_an_address_is_shown_without_its_login() -> None:
    rows: list[tuple[str, str]] = [
        ("redis://bob:pw@h/1", "redis://…@h/1"),
        ("bob:pw@h:80/api", "…@h:80/api"),
        ("http://h/api", "http://h/api"),
        ("unix://bob:pw@/run/x", "unix://…@/run/x"),
        ("redis://:p@w@h", "redis://…@h"),
        ("http://bob:p/w x@h", "http://…@h"),
        ("redis://h/0?password=pw", "redis://h/0?password=***"),
    ]
    assert [(written, shown) for written, shown in rows if without_login(written) != shown] == []
