"""An event has one shape, whatever server it is from, and is wanted or not by what the configuration says."""

import pytest

from restbroker.rules.event import ServerEvent, as_json, bare, domain, is_wanted

EVENT = ServerEvent(
    "message", "ann@example.org/phone", "Bot-1@bots.example.org", "m1", "hello", None, "bots.example.org", "p", 1.5,
    {"kind": "message"},
)  # fmt: skip


def test_the_argument_of_its_job_has_each_member() -> None:
    assert as_json(EVENT) == {
        "type": "message",
        "from": "ann@example.org/phone",
        "to": "Bot-1@bots.example.org",
        "id": "m1",
        "body": "hello",
        "room": None,
        "server": "bots.example.org",
        "source": "p",
        "received_at": 1.5,
        "raw": {"kind": "message"},
    }


@pytest.mark.parametrize(
    ("types", "sender", "receiver", "wanted"),
    [
        ((), (), (), True),
        (("presence", "message"), (), (), True),
        (("presence",), (), (), False),
        ((), ("ann@example.org",), (), True),
        ((), ("bob@*", "*@example.org"), (), True),
        ((), ("ann",), (), False),
        ((), (), ("bot-*",), True),
        ((), (), ("BOT-?@*",), True),
        ((), (), ("*.org/phone",), False),
        (("message",), ("ann@*",), ("robot-*",), False),
    ],
)
def test_who_is_wanted_is_said_by_types_and_patterns(
    types: tuple[str, ...], sender: tuple[str, ...], receiver: tuple[str, ...], wanted: bool
) -> None:
    assert is_wanted(EVENT, types, sender, receiver) is wanted


def test_an_event_of_nobody_fits_no_pattern() -> None:
    nobody = ServerEvent("presence", None, None, None, None, None, None, "p", 1.0, {})
    assert is_wanted(nobody, (), (), ())
    assert not is_wanted(nobody, (), ("*",), ())


def test_parts_of_a_jid() -> None:
    assert [bare("a@b/c/d"), bare("b"), domain("a@b/c@d"), domain("b/c")] == ["a@b", "b", "b", "b"]
