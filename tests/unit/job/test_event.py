"""An event has one shape, whatever server it is from, and is wanted or not by what the configuration says."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.events import Filter
from restbroker.job.event import EVENT_MEMBERS, ServerEvent, as_json, bare, domain, mark_of_sent
from tests.support.rows import rows

EVENT = ServerEvent(
    "message", "ann@example.org/phone", "Bot-1@bots.example.org", "m1", "hello", None, "bots.example.org", "p", 1.5,
    {"kind": "message"},
)  # fmt: skip


def test_the_argument_of_its_job_has_each_member() -> None:
    assert tuple(as_json(EVENT)) == EVENT_MEMBERS
    assert as_json(EVENT) == {
        "type": "message",
        "from": "ann@example.org/phone",
        "to": "Bot-1@bots.example.org",
        "id": "m1",
        "body": "hello",
        "room": None,
        "presence": None,
        "server": "bots.example.org",
        "source": "p",
        "received_at": 1.5,
        "raw": {"kind": "message"},
    }


@rows(("types", "sender", "receiver", "wanted"), [
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
])  # fmt: skip
def test_wanted_users_are_given_by_types_and_patterns(
    types: tuple[str, ...], sender: tuple[str, ...], receiver: tuple[str, ...], wanted: bool
) -> None:
    assert Filter(types, sender, receiver).fits(EVENT) is wanted


def test_event_without_user_fits_no_pattern() -> None:
    anonymous = ServerEvent("presence", None, None, None, None, None, None, "p", 1.0, {})
    assert Filter().fits(anonymous)
    for pattern in (Filter(sender=("*",)), Filter(receiver=("*",)), Filter(body=("*",))):
        assert not pattern.fits(anonymous)
        assert not pattern.touches(anonymous)


def test_all_members_of_a_filter_must_fit_and_any_one_touches() -> None:
    both = Filter(sender=("ann@*",), body=("bye",))
    assert not both.fits(EVENT)
    assert both.touches(EVENT)
    assert not Filter().touches(EVENT)


@rows(("pattern", "body", "fits"), [
    ("HELLO", "hello", True),
    ("hell", "hello", False),
    ("*line*", "a\nLine\nof many", True),
    ("[urgent]*", "[Urgent] now", True),
    ("[urgent]*", "u now", False),
    ("straße", "STRASSE", True),
    ("a.c", "abc", False),
])  # fmt: skip
def test_a_body_is_compared_whatever_its_case_and_lines(pattern: str, body: str, fits: bool) -> None:
    assert Filter(body=(pattern,)).fits(attrs.evolve(EVENT, body=body)) is fits


@rows(("pattern", "sender"), [
    ("Alice@Example.org", "alice@example.org"),
    ("straße@*", "strasse@example.org"),
    ("Ａnn@*", "ann@example.org"),
    ("[::1]", "[::1]"),
    ("Ö@*", "ö@x"),
])  # fmt: skip
def test_a_jid_is_compared_as_servers_fold_it(pattern: str, sender: str) -> None:
    assert Filter(sender=(pattern,)).fits(attrs.evolve(EVENT, sender=sender))


@given(st.text(), st.text())
def test_whatever_patterns_and_jids_are_nothing_is_raised(pattern: str, jid: str) -> None:
    event = attrs.evolve(EVENT, sender=jid, receiver=jid, body=jid)
    Filter(sender=(pattern,), receiver=(pattern,), body=(pattern,)).fits(event)
    # What has neither wildcards nor a resource fits itself.
    if not {*"*?/"} & {*jid}:
        assert Filter(sender=(jid,), body=(jid,)).fits(event)


def test_sent_message_is_known_again_without_resource_and_domain() -> None:
    mark = mark_of_sent("Bot@a.example", "bob@b.example", "hi")
    assert mark_of_sent("bot@a.example/phone", "bob", "hi") == mark
    assert len({mark, mark_of_sent("x@a.example", "bob", "hi"), mark_of_sent("bot@a.example", "x", "hi")}) == 3
    assert mark_of_sent("bot@a.example", "bob", "Hi") != mark


def test_parts_of_a_jid() -> None:
    assert [bare("a@b/c/d"), bare("b"), domain("a@b/c@d"), domain("b/c")] == ["a@b", "b", "b", "b"]
