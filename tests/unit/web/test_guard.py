# ruff: noqa: SLF001 - what is kept stays bounded, and no public name shows how much it is
"""Tries of a login with a clock of their own, host names, and the headers by which a form is ours or foreign."""

from collections.abc import Mapping

import attrs
import pytest
from quart import Response
from quart_trio import QuartTrio

from restbroker.web.guard import Guard, LoginAttempts, PageSettings, is_own

OURS = (
    *("localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:8080", "10.1.2.3:80", "[::1]", "[::1]:8080"),
    *("broker.internal", "Broker.Internal:8080"),
)
NOT_OURS = (
    *("", ":8080", "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example"),
    *("127.0.0.1@evil.example", "evil.example#127.0.0.1", "[127.0.0.1]", "::1", "[::1", "localhost:x"),
    *("localhost:８０", "0x7f000001", "broker.internal."),
)
BY_ADDRESS = "192.0.2.1:8080"
OWN_FORMS: dict[str, Mapping[str, str]] = {
    "a browser on loopback or https": {"Sec-Fetch-Site": "same-origin", "Origin": f"http://{BY_ADDRESS}"},
    "curl with one header": {"Sec-Fetch-Site": "same-origin"},
    "a browser on http by address": {"Origin": f"http://{BY_ADDRESS}"},
    "an old browser behind a proxy": {
        "Host": "ops.example.org", "Origin": "https://Ops.example.org", "X-Forwarded-Proto": "https",
    },
}  # fmt: skip
FOREIGN_FORMS: dict[str, Mapping[str, str]] = {
    "a page of another site": {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    "a page on another port": {"Sec-Fetch-Site": "same-site", "Origin": "http://192.0.2.1:9090"},
    "no page": {"Sec-Fetch-Site": "none"},
    "a foreign page that claims our origin": {"Sec-Fetch-Site": "cross-site", "Origin": f"http://{BY_ADDRESS}"},
    "an empty header": {"Sec-Fetch-Site": "", "Origin": f"http://{BY_ADDRESS}"},
    "http by address, another site": {"Origin": "http://evil.example"},
    "http by address, another port": {"Origin": "http://192.0.2.1:9090"},
    "http by address, without a port": {"Origin": "http://192.0.2.1"},
    "http by address, another scheme": {"Origin": f"https://{BY_ADDRESS}"},
    "a frame in a sandbox": {"Origin": "null"},
    "an old browser without either header": {},
    "http beside a proxy with TLS": {
        "Host": "ops.example.org", "Origin": "http://ops.example.org", "X-Forwarded-Proto": "https",
    },
    "another name that leads here": {"Host": "evil.example", "Origin": "http://evil.example"},
}  # fmt: skip


async def refused(headers: Mapping[str, str], settings: PageSettings) -> str:
    """The code with which a form with these headers is refused; "" for one that is obeyed."""
    codes = [""]

    def refuse(status: int, code: str, message: str, hint: str | None = None) -> Response:
        codes.append(code)
        return Response(f"{message} {hint}", status)

    app = QuartTrio("test")
    app.add_url_rule("/steer", "steer", lambda: "", methods=["POST"])
    guard = Guard(settings, lambda _event: None, refuse)
    headers = {"Host": BY_ADDRESS, **headers}
    async with app.test_request_context("/steer", method="POST", headers=headers):
        await guard.before_request()
    return codes[-1]


@pytest.mark.promise("Security: who can reach the ports", "as a page in an operator's browser, to send a form")
async def test_only_a_form_of_our_own_pages_is_obeyed() -> None:
    settings = PageSettings("127.0.0.1", names=("ops.example.org",))
    own = {name: await refused(headers, settings) for name, headers in OWN_FORMS.items()}
    foreign = {name: await refused(headers, settings) for name, headers in FOREIGN_FORMS.items()}
    assert own == dict.fromkeys(OWN_FORMS, "")
    assert foreign == dict.fromkeys(FOREIGN_FORMS, "ForeignForm") | {"another name that leads here": "UnknownHost"}


def test_addresses_localhost_and_the_bound_name_are_ours_alone() -> None:
    found = {host: is_own(host, "broker.internal") for host in (*OURS, *NOT_OURS)}
    assert found == dict.fromkeys(OURS, True) | dict.fromkeys(NOT_OURS, False)
    assert not is_own("", "")


@attrs.define
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_no_address_uses_up_the_tries_of_another() -> None:
    tries = LoginAttempts(Clock())
    for number in range(3000):
        tries.count_failure(f"10.0.{number // 250}.{number % 250}")
    assert tries.may_try("10.1.0.0")


def checked(tries: LoginAttempts, address: str, number: int) -> int:
    """The number of wrong tries that are checked."""
    found = 0
    for _ in range(number):
        if tries.may_try(address):
            found += 1
            tries.count_failure(address)
    return found


def test_an_address_has_five_tries_a_minute_a_known_one_more() -> None:
    clock = Clock()
    tries = LoginAttempts(clock)
    assert [checked(tries, "10.0.0.1", 100), checked(tries, "10.0.0.2", 100)] == [5, 5]
    clock.now_s = 12.1
    assert checked(tries, "10.0.0.1", 100) == 1
    clock.now_s = 120.0
    tries.trust("10.0.0.1")
    assert checked(tries, "10.0.0.1", 100) == 10
    clock.now_s += 1
    assert [checked(tries, "10.0.0.1", 100), checked(tries, "10.0.0.2", 100)] == [10, 5]
    clock.now_s = 120 + 24 * 3600.0
    assert checked(tries, "10.0.0.1", 100) == 5


@pytest.mark.parametrize(
    ("tried", "same", "other"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:2::1"),
        ("::ffff:10.0.0.1", "10.0.0.1", "::ffff:10.0.0.2"),
    ],
    ids=["IPv6 counts by its first 64 bits", "IPv4 on an IPv6 socket counts alone"],
)
def test_addresses_of_one_visitor_share_their_tries(tried: str, same: str, other: str) -> None:
    tries = LoginAttempts(Clock())
    assert checked(tries, tried, 5) == 5
    assert [tries.may_try(same), tries.may_try(other)] == [False, True]


def test_memory_is_bounded_and_strangers_push_out_no_known_one() -> None:
    clock = Clock()
    tries = LoginAttempts(clock)
    tries.trust("10.0.0.1")
    for number in range(40_000):
        tries.count_failure(f"2001:db8:{number:x}::1")
    assert len(tries._buckets) == 16_384
    assert checked(tries, "10.0.0.1", 100) == 10
    for number in range(2000):
        tries.trust(f"2001:db8:{number:x}::1")
    assert len(tries._known) == 1000
