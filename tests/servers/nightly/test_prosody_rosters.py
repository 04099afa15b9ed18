"""What the roster module does with rosters and refreshes, row by row, in a real Prosody with real clients.

Against our stand-in, which was written from what the original was seen to do.
"""

import contextlib
import json
import socket
from collections.abc import Callable

import pytest

from tests.support.prosody import Prosody
from tests.support.roster_service import RosterService, Way
from tests.support.wait import until
from tests.support.xmpp import Clients, Contact, Presence

FINE = {"status": "ok", "message": "roster update complete", "updated": 1, "errors": 0}
AARON = "aaron@example.org"
ROSTERS_ONLY = ("http_roster_admin", "block_subscriptions")
UNANSWERED_S = 0.4
"""After this time without an answer we believe that none comes: others come within milliseconds."""


def is_unanswered(prosody: Prosody, *users: object) -> bool:
    try:
        prosody.refresh(*users, timeout_s=UNANSWERED_S)
    except TimeoutError:
        return True
    return False


def body_is_unanswered(prosody: Prosody, body: str) -> bool:
    try:
        prosody.call("POST", "/roster_admin/refresh", body, timeout_s=UNANSWERED_S)
    except TimeoutError:
        return True
    return False


def test_the_roster_is_fetched_at_the_first_login_and_not_for_a_second_session(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    prosody.register("john")
    roster_service.rosters["john"] = {AARON: {"name": "Aaron", "groups": {"friends": True, "work": False}}}
    expected = {AARON: Contact(AARON, "Aaron", frozenset({"friends", "work"}))}
    first = clients.login("john", roster=False)
    assert first.roster() == expected
    [get] = roster_service.gets
    assert get.target == "/roster/john"
    assert get.headers == {
        "user-agent": "Prosody XMPP Server",
        "accept": "application/json, text/plain, */*",
        "host": f"127.0.0.1:{prosody.roster_port}",
    }
    second = clients.login("john", roster=False)
    assert second.roster() == expected
    assert roster_service.asked == {"john": 1}
    for one in (first, second):
        one.logout()
    until(lambda: not prosody.online(), "both sessions are over")
    clients.login("john")
    assert roster_service.asked == {"john": 2}


def test_a_refresh_pushes_what_came_and_what_went(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    prosody.register("john", "aaron")
    john, aaron = clients.login("john"), clients.login("aaron")
    roster_service.rosters["john"] = {AARON: {"name": "Aaron", "groups": {"friends": True}}}
    status, text = prosody.refresh("john")
    assert (status, json.loads(text)) == (200, FINE)
    assert john.pushes.wait_for_number(1) == [Contact(AARON, "Aaron", frozenset({"friends"}))]
    # Only the refreshed side shows itself: for Aaron to be seen, he must be refreshed as well.
    [seen] = aaron.presences.wait_for_number(1)
    assert (seen.sender.partition("/")[0], seen.kind) == (john.jid, "available")
    assert john.presences.all == []
    roster_service.rosters["john"] = {}
    prosody.refresh("john")
    assert john.pushes.wait_for_number(2)[1] == Contact(AARON, None, frozenset(), "remove")
    assert aaron.presences.wait_for_number(2)[1] == Presence(seen.sender, "unavailable")


def test_a_contact_that_is_renamed_or_regrouped_is_not_pushed_and_seen_at_the_next_login(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    prosody.register("john")
    roster_service.rosters["john"] = {AARON: {"name": "Aaron"}}
    john = clients.login("john")
    roster_service.rosters["john"] = {AARON: {"name": "A.", "groups": {"work": True}}}
    assert prosody.refresh("john")[0] == 200
    assert john.roster() == {AARON: Contact(AARON, "Aaron")}
    assert john.pushes.all == []
    john.logout()
    until(lambda: not prosody.online(), "the session is over")
    again = clients.login("john", roster=False)
    assert again.roster() == {AARON: Contact(AARON, "A.", frozenset({"work"}))}


def test_who_is_not_online_counts_as_updated_without_a_request_and_a_repetition_is_one_more(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    for entry in ("john2", "JOHN", "john@example.org", "john@example.org/phone", None, True, 7):
        status, text = prosody.refresh(entry)
        assert (entry, status, json.loads(text)) == (entry, 200, FINE)
    assert roster_service.gets == []
    prosody.register("john")
    clients.login("john")
    assert json.loads(prosody.refresh("john", "john", "john")[1])["updated"] == 3
    assert roster_service.asked == {"john": 4}


def test_what_is_no_list_of_users_is_a_500_or_never_answered(prosody: Prosody) -> None:
    for body in ("no JSON", "null", "", "[1"):
        status, text = prosody.call("POST", "/roster_admin/refresh", body)
        assert (body, status) == (body, 500)
        assert "<html" in text
    for body in ("[]", "{}"):
        assert body_is_unanswered(prosody, body), body
    assert [prosody.call(method, "/roster_admin/refresh", "[]")[0] for method in ("PUT", "GET")] == [404, 301]
    with socket.create_connection(("127.0.0.1", prosody.port), timeout=60) as line:
        line.sendall(b"POST /roster_admin/refresh HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n")
        line.sendall(b'8\r\n["john"]\r\n0\r\n\r\n')
        # It closes what it has not read to the end, so that the end may be a reset.
        with contextlib.suppress(ConnectionResetError):
            assert line.recv(1) == b""


def test_a_service_that_says_no_is_an_error_that_names_nobody(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    prosody.register("john", "aaron")
    for user in ("john", "aaron"):
        clients.login(user)
    for status in (201, 204, 301, 404, 500):
        roster_service.answers["john"] = status
        answered, text = prosody.refresh("john", "aaron")
        assert (answered, json.loads(text)) == (200, {**FINE, "errors": 1}), status
        singles = [prosody.call("GET", f"/roster_admin/refresh/{user}") for user in ("john", "aaron")]
        assert [(code, json.loads(said)["status"]) for code, said in singles] == [(200, "error"), (200, "ok")]


BAD_ENTRIES = [{"groups": None}, {"groups": ["a"]}, {"name": 7}, {"name": "a\x01b"}, None]
BAD_BODIES = [b"no JSON", b'["x"]', b"null", b'{"a@example.org": {"groups": {"a\\u0000": true}}}']


def test_one_user_with_bad_data_leaves_the_whole_batch_without_an_answer_and_the_others_are_served(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    prosody.register("mary")
    mary = clients.login("mary")
    entries = [json.dumps({AARON: entry}).encode() for entry in BAD_ENTRIES]
    answers: tuple[Way | bytes, ...] = ("close", "cut", *BAD_BODIES, *entries)
    contacts: dict[str, object] = {}
    for number, answer in enumerate(answers, 1):
        user, contact = f"john{number}", f"contact{number}@example.org"
        prosody.register(user)
        clients.login(user)
        roster_service.answers[user] = answer
        contacts[contact] = {}
        roster_service.rosters["mary"] = contacts
        assert is_unanswered(prosody, user, "mary"), answer
        assert mary.pushes.wait_for_number(number)[-1].jid == contact


def test_after_a_json_array_nothing_works_for_that_user_until_all_his_sessions_end(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    prosody.register("john")
    john = clients.login("john")
    roster_service.answers["john"] = b'["x"]'
    assert is_unanswered(prosody, "john")
    del roster_service.answers["john"]
    assert is_unanswered(prosody, "john")
    with pytest.raises(TimeoutError):
        john.roster(timeout_s=UNANSWERED_S)
    john.logout()
    until(lambda: not prosody.online(), "the session is over")
    clients.login("john")
    assert json.loads(prosody.refresh("john")[1]) == FINE


def test_a_change_for_a_client_without_presence_is_pushed_and_not_answered_and_the_next_refresh_is_fine(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    prosody.register("john")
    john = clients.login("john", presence=False)
    roster_service.rosters["john"] = {AARON: {}}
    assert is_unanswered(prosody, "john")
    assert len(john.pushes.wait_for_number(1)) == 1
    assert json.loads(prosody.refresh("john")[1]) == FINE


def test_a_service_that_says_no_at_login_ends_the_session(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    prosody.register("john")
    roster_service.answers["john"] = 500
    john = clients.login("john", roster=False)
    assert john.ask(john.jid, "<query xmlns='jabber:iq:roster'/>") == ("error", "internal-server-error")
    assert john.ended.wait(60)


def test_bad_data_at_login_leaves_the_request_for_the_roster_without_an_answer(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    prosody.register("john")
    roster_service.answers["john"] = b'{"a@example.org": null}'
    john = clients.login("john", roster=False)
    with pytest.raises(TimeoutError):
        john.roster(timeout_s=UNANSWERED_S)
    assert not john.ended.is_set()


def test_a_login_in_the_url_is_sent_as_basic_and_percent_signs_in_it_stay(make_prosody: Callable[..., Prosody]) -> None:
    # A percent sign in the URL is doubled: names are put in with a format.
    own = make_prosody(roster_login="prosody:s3c%%20ret@", roster_path="/rosters/%s?key=k%%20y", modules=ROSTERS_ONLY)
    with RosterService(own.roster_port) as service, Clients(own.c2s_port) as clients:
        own.register("john")
        clients.login("john")
    [get] = service.gets
    assert get.headers["authorization"] == "Basic cHJvc29keTpzM2MlMjByZXQ="
    assert get.target == "/rosters/john?key=k%20y"
