"""What a target of kind `prosody-roster` is, as it comes from a configuration."""

import pytest

from restbroker.rosters.refresh.options import Options
from tests.support.receiver import Answer
from tests.unit.servers.conftest import Configured, Made, Problems, Usual


@pytest.fixture
def usual() -> Usual:
    """Of this kind."""
    entry = {"Kind": "prosody-roster", "URL": "http://127.0.0.1:5280/roster_admin", "Domain": "example.org"}
    return Usual("rosters", entry, "", lambda _: Answer())


def test_without_options_it_gathers_for_a_fifth_of_a_second_and_waits_for_many_at_once(made: Made) -> None:
    target = made()
    assert target.options == Options(debounce_s=0.2, max_wait_s=1.0, batch_size=50, writes_only=False)
    assert (target.concurrency, target.timeout_s, target.host_header) == (200, 5.0, "example.org")
    assert (target.is_local, made({"WritesOnly": True}).is_local) == (False, True)
    target = made(Concurrency=20, RequestTimeout="10s")
    assert (target.concurrency, target.timeout_s) == (20, 10.0)


def test_what_prosody_or_reason_does_not_take_is_refused(problems: Problems) -> None:
    options: list[dict[str, object]] = [{"BatchSize": 51}, {"BatchSize": 0}, {"Debounce": "2s", "MaxWait": "1s"}]
    assert all(problems(one) for one in options)


def test_a_missing_domain_is_told(configured: Configured) -> None:
    assert [note.code for note in configured(Domain=None, HostHeader="a.b").notes] == ["NoDomain"]
