from restbroker.web.hosts import is_own

OURS = (
    *("localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:8080", "10.1.2.3:80", "[::1]", "[::1]:8080"),
    *("broker.internal", "Broker.Internal:8080"),
)
NOT_OURS = (
    *("", ":8080", "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example"),
    *("127.0.0.1@evil.example", "evil.example#127.0.0.1", "[127.0.0.1]", "::1", "[::1", "localhost:x"),
    *("localhost:８０", "0x7f000001", "broker.internal."),
)


def test_addresses_localhost_and_the_bound_name_are_ours_and_every_other_name_is_not() -> None:
    found = {host: is_own(host, "broker.internal") for host in (*OURS, *NOT_OURS)}
    assert found == dict.fromkeys(OURS, True) | dict.fromkeys(NOT_OURS, False)


def test_nothing_bound_makes_the_missing_name_not_ours() -> None:
    assert not is_own("", "")
