"""Openfire's frames belong to the stanzas that they are made of, whatever their order; what comes twice is once."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.servers.openfire.stream.form import Form
from restbroker.servers.openfire.stream.pairs import MOST
from restbroker.transport.stream import Frame
from tests.support.rows import rows
from tests.unit.servers.openfire_stream.openfire_frames import (
    ANN,
    BOB,
    FULL,
    IN_ROOM,
    ROOM,
    WORKGROUP,
    all_of,
    coded,
    invited,
    message,
    presence,
    presences,
    stanza,
)

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters='"\\\n{}:,'), min_size=1)


@pytest.mark.promise("Security: who can reach the ports", "as a user of Openfire, to be taken for another")
@given(texts, texts)
def test_a_message_with_its_stanza_is_what_the_stanza_says(body: str, resource: str) -> None:
    form = Form("chat", "ann", None, "typed")
    # No address has a line break.
    sender = f"{BOB}/{resource}".replace("\n", "")
    (event,) = all_of(form, [stanza(body, sender), message(body, sender)])
    assert (event.type, event.sender, event.body, event.id) == ("message", sender, body, "m1")


@given(st.lists(st.tuples(texts, st.sampled_from([FULL, IN_ROOM])), min_size=1, max_size=12), st.randoms())
def test_messages_that_come_at_once_have_each_its_own_stanza(said: list[tuple[str, str]], chance: Random) -> None:
    wanted = sorted((body, sender, f"m{number}") for number, (body, sender) in enumerate(said))
    stanzas = [stanza(body, sender, ident) for body, sender, ident in wanted]
    made = [message(body, sender) for body, sender, _ in wanted]
    chance.shuffle(stanzas)
    chance.shuffle(made)
    events = all_of(Form("chat", "ann", None, "typed"), [*stanzas, *made])
    assert sorted((event.body, event.sender, event.id) for event in events) == wanted


def test_of_a_thousand_messages_of_twelve_threads_none_is_without_its_id() -> None:
    chance, late, frames = Random(7), list[Frame](), list[Frame]()
    for number in range(1000):
        frames.append(stanza(f"text {number}", ident=f"m{number}"))
        late.append(message(f"text {number}"))
        # Now and then comes something that the plugin makes nothing of, or a second one like it.
        frames.append(coded("<iq/>") if number % 2 else stanza("never", ident="n"))
        if len(late) == 12:
            frames.append(late.pop(chance.randrange(12)))
    events = all_of(Form("chat", "ann", None, "typed"), [*frames, *late])
    assert sorted((event.body, event.id) for event in events) == sorted((f"text {n}", f"m{n}") for n in range(1000))


def test_a_stanza_counts_for_the_message_that_is_made_of_it_and_for_no_other() -> None:
    form = Form("chat", "ann", None, "typed")
    more = message('say "one')
    other, first, again = all_of(form, [stanza("one"), more, message("one"), message("one")])
    assert (other.body, other.id) == ('say "one', None)
    assert (first.body, first.id) == ("one", "m1")
    assert (again.body, again.id) == ("one", None)


def test_what_is_kept_of_stanzas_is_bounded_and_a_large_one_is_paired_all_the_same() -> None:
    form = Form("chat", "ann", None, "typed")
    large = "x" * 3_000_000
    events = all_of(form, [stanza("first", ident="a"), stanza(large, ident="b"), message(large), message("first")])
    assert [event.id for event in events] == ["b", None]
    many = [stanza(f"{number}", ident=f"{number}") for number in range(MOST + 1)]
    events = all_of(form, [*many, message("0"), message("1")])
    assert [event.id for event in events] == [None, "1"]


@rows(("word", "wanted"), [(None, "available"), ("unavailable", "unavailable"), ("error", "error")])
def test_a_presence_says_whether_somebody_comes_or_leaves_as_its_stanza_does(word: str | None, wanted: str) -> None:
    form = Form("chat", "ann", None, "typed")
    came, left = presence(word), presence("unavailable", f"{BOB}/other")
    assert presences(all_of(form, [came[0], left[0], left[1], came[1]])) == ["unavailable", wanted]


def test_a_presence_that_may_be_either_says_so() -> None:
    form = Form("chat", "ann", None, "typed")
    came, left = presence(), presence("unavailable")
    assert presences(all_of(form, [came[0], left[0], left[1], came[1]])) == ["unknown", "unknown"]
    # Neither does one that comes before both are told.
    third = presence()
    frames = [came[0], left[0], left[1], third[0], came[1], third[1]]
    assert presences(all_of(form, frames)) == ["unknown"] * 3
    assert presences(all_of(form, [came[0], came[1], left[0], left[1], came[1]])) == [
        "available", "unavailable", "unknown",
    ]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from([BOB, ANN]), texts), min_size=1, max_size=4), st.randoms())
def test_an_invitation_is_one_event_with_all_that_is_known_whichever_frame_comes_first(
    invitations: list[tuple[str, str]], chance: Random
) -> None:
    told = [invited(inviter, reason) for inviter, reason in invitations]
    made = [frame for _, *both in told for frame in both]
    chance.shuffle(made)
    events = all_of(Form("chat", "ann", None, "typed"), [*(first for first, *_ in told), *made])
    assert {(event.type, event.sender, event.receiver, event.room) for event in events} == {
        ("invitation", ROOM, ANN, ROOM)
    }
    raws = [event.raw for event in events if isinstance(event.raw, dict)]
    assert sorted((raw["inviter"], event.body) for raw, event in zip(raws, events, strict=True)) == sorted(invitations)
    assert {(raw["password"], raw["url"]) for raw in raws} == {("pw", "https://h:7443/meet/tea")}


def test_a_frame_whose_partner_or_stanza_never_comes_is_told_all_the_same() -> None:
    first, by_room, whole = invited(BOB, "come")
    for frame in (by_room, whole):
        (event,) = all_of(Form("chat", "ann", None, "typed"), [first, frame])
        assert (event.type, event.body) == ("invitation", "come")
        (event,) = all_of(Form("chat", "ann", None, "typed"), [frame])
        assert (event.type, event.room) == ("invitation", ROOM)


def test_a_message_that_invites_besides_is_told_as_both() -> None:
    inner = f'<body>hi</body><x xmlns="http://jabber.org/protocol/muc#user"><invite from="{BOB}"/></x>'
    data = f'{{"type": "normal", "to":"{ANN}", "from":"{ROOM}", "data":null, "body": "hi"}}'
    head = f'{{"type": "invitationReceived", "password":"null", "room":"{ROOM}", "inviter":"{BOB}", "to":"{ANN}", '
    frames = [
        coded(f'<message from="{ROOM}" to="{ANN}">{inner}</message>'),
        Frame("chatapi.chat", data),
        Frame("chatapi.muc", f'{head}"from":"{ROOM}", "url":"u", "reason": "null"}}'),
    ]
    events = all_of(Form("chat", "ann", None, "typed"), frames)
    assert [(event.type, event.body) for event in events] == [("message", "hi"), ("invitation", None)]


@rows("is_asked_first", [True, False])
def test_what_an_asker_hears_is_one_event_with_its_data(is_asked_first: bool) -> None:
    heard = coded(
        f'<message type="groupchat" id="m1" from="{IN_ROOM}" to="{ANN}"><body>hi</body>'
        '<properties xmlns="http://www.jivesoftware.com/xmlns/xmpp/properties"><property><name>data</name>'
        '<value type="string">{"k":1}</value></property></properties></message>'
    )
    head = f'{{"type": "groupchat", "to":"{ANN}", "from":"{IN_ROOM}", '
    both = [Frame("chatapi.ask", head + '"body": "hi"}'), Frame("chatapi.muc", head + '"data":{"k":1}, "body": "hi"}')]
    (event,) = all_of(Form("chat", "ann", None, "typed"), [heard, *(both if is_asked_first else reversed(both))])
    assert (event.type, event.sender, event.body, event.id, event.room) == ("groupchat", IN_ROOM, "hi", "m1", ROOM)
    assert isinstance(event.raw, dict)
    assert event.raw["data"] == {"k": 1}


def test_an_offer_and_the_invitation_beside_it_are_one_event() -> None:
    first, by_room, _ = invited(WORKGROUP, "tea")
    offer = Frame(
        "chatapi.ask", f'{{"type": "offer", "to":"{ANN}/ann", "from":"{ROOM}", "url":"u", "mucRoom": "{ROOM}"}}'
    )
    for frames in ([by_room, offer], [offer, by_room]):
        (event,) = all_of(Form("chat", "ann", None, "typed"), [first, *frames])
        assert (event.type, event.sender, event.room, event.body) == ("invitation", ROOM, ROOM, "tea")
