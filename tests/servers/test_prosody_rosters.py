"""What the roster module does with rosters and refreshes, row by row, in a real Prosody with real clients.

By default against our stand-in, which was written from what the original was seen to do; `make test
PROSODY_MODULES=/path` holds the original to the same. The tests of switches are about the stand-in only.
"""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.prosody import Prosody, original_modules
from tests.support.roster_service import RosterService
from tests.support.wait import until
from tests.support.xmpp import Client, Clients, Contact, Presence

FINE = {"status": "ok", "message": "roster update complete", "updated": 1, "errors": 0}
AARON = "aaron@example.org"
ROSTERS_ONLY = ("http_roster_admin", "block_subscriptions")
UNANSWERED_S = 0.4
"""After this time without an answer we believe that none comes: others come within milliseconds."""
BUSY_S = 60.0
"""For three hundred threads of ours, on a machine that has much else to do."""

with_switches = pytest.mark.skipif(original_modules() is not None, reason="original modules have no switches")


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
    second = clients.login("john", roster=False)
    assert second.roster() == expected
    assert roster_service.asked == {"john": 1}
    for one in (first, second):
        one.logout()
    until(lambda: not prosody.online(), "both sessions are over")
    clients.login("john")
    assert roster_service.asked == {"john": 2}


def test_the_request_for_a_roster_has_these_headers_and_the_name_as_it_is(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    prosody.register("jo+n%41")
    clients.login("jo+n%41")
    [get] = roster_service.gets
    assert get.target == "/roster/jo+n%41"
    assert get.headers == {
        "user-agent": "Prosody XMPP Server",
        "accept": "application/json, text/plain, */*",
        "host": f"127.0.0.1:{prosody.roster_port}",
    }


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


@pytest.mark.parametrize(
    "entry", ["john2", "JOHN", "john@example.org", "john@example.org/phone", None, True, 7], ids=repr
)
def test_who_is_not_online_is_counted_as_updated_without_a_request(
    prosody: Prosody, roster_service: RosterService, entry: object
) -> None:
    status, text = prosody.refresh(entry)
    assert (status, json.loads(text)) == (200, FINE)
    assert roster_service.gets == []


def test_each_repetition_of_a_user_is_a_request(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    prosody.register("john")
    clients.login("john")
    assert json.loads(prosody.refresh("john", "john", "john")[1])["updated"] == 3
    assert roster_service.asked == {"john": 4}


@pytest.mark.parametrize("body", ["[]", "{}", '"x"'])
def test_an_empty_refresh_is_never_answered(prosody: Prosody, body: str) -> None:
    assert body_is_unanswered(prosody, body)


@pytest.mark.parametrize("body", ["no JSON", "null", "", "[1"])
def test_what_is_no_json_is_a_500_in_html(prosody: Prosody, body: str) -> None:
    status, text = prosody.call("POST", "/roster_admin/refresh", body)
    assert status == 500
    assert "<html" in text


def test_other_methods_and_paths_are_a_404_or_lead_elsewhere(prosody: Prosody) -> None:
    assert prosody.call("POST", "/roster_admin/refresh/", "[]")[0] == 404
    assert [prosody.call(method, "/roster_admin/refresh", "[]")[0] for method in ("PUT", "DELETE", "PATCH")] == [
        404
    ] * 3
    assert [prosody.call(method, "/roster_admin/refresh")[0] for method in ("GET", "HEAD")] == [301, 301]


def test_a_body_in_chunks_ends_the_connection(prosody: Prosody) -> None:
    with socket.create_connection(("127.0.0.1", prosody.port), timeout=60) as line:
        line.sendall(b"POST /roster_admin/refresh HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n")
        line.sendall(b'8\r\n["john"]\r\n0\r\n\r\n')
        assert line.recv(1) == b""


def test_nobody_has_to_log_in_and_any_origin_may_ask(prosody: Prosody) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", prosody.port, timeout=60)
    connection.request("POST", "/roster_admin/refresh", '["nobody"]')
    response = connection.getresponse()
    assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (200, "*")
    connection.close()


def test_a_thousand_who_are_offline_are_answered_at_once(prosody: Prosody) -> None:
    assert json.loads(prosody.refresh(*(f"user{number}" for number in range(1000)))[1])["updated"] == 1000


@pytest.mark.parametrize("status", [201, 204, 301, 404, 500])
def test_a_service_that_says_no_is_an_error_that_names_nobody(
    prosody: Prosody, roster_service: RosterService, clients: Clients, status: int
) -> None:
    prosody.register("john", "aaron")
    clients.login("john")
    clients.login("aaron")
    roster_service.answers["john"] = status
    answered, text = prosody.refresh("john", "aaron")
    answer = json.loads(text)
    assert (answered, answer["status"], answer["errors"]) == (200, "ok", 1)
    assert [ask_one(prosody, user) for user in ("john", "aaron")] == ["error", "ok"]


def ask_one(prosody: Prosody, user: str) -> str:
    status, text = prosody.call("GET", f"/roster_admin/refresh/{user}")
    assert status == 200
    answer = json.loads(text)
    assert answer["message"] == "roster update complete"
    verdict: str = answer["status"]
    return verdict


BAD_ENTRIES = [
    {"groups": ["a"]},
    {"groups": None},
    {"groups": "a"},
    {"name": None},
    {"name": 7},
    {"name": True},
    {"name": "a\x01b"},
    None,
    True,
]
BAD_BODIES = [b"no JSON", b'["x"]', b"null", b'{"a@example.org": {"groups": {"a\\u0000": true}}}']


@pytest.mark.parametrize(
    "answer",
    ["close", "cut", *BAD_BODIES, *(json.dumps({AARON: entry}).encode() for entry in BAD_ENTRIES)],
    ids=repr,
)
def test_one_user_with_bad_data_leaves_the_whole_batch_without_an_answer_and_the_others_are_served(
    prosody: Prosody, roster_service: RosterService, clients: Clients, answer: bytes
) -> None:
    prosody.register("john", "mary")
    clients.login("john")
    mary = clients.login("mary")
    roster_service.answers["john"] = answer
    roster_service.rosters["mary"] = {AARON: {}}
    assert is_unanswered(prosody, "john", "mary")
    assert [contact.jid for contact in mary.pushes.wait_for_number(1)] == [AARON]


@pytest.mark.parametrize("entry", [{}, [], "text", {"groups": []}, {"groups": {"a": False}}], ids=repr)
def test_these_odd_entries_are_taken(
    prosody: Prosody, roster_service: RosterService, clients: Clients, entry: object
) -> None:
    prosody.register("john")
    john = clients.login("john")
    roster_service.rosters["john"] = {AARON: entry}
    assert json.loads(prosody.refresh("john")[1]) == FINE
    assert [contact.jid for contact in john.pushes.wait_for_number(1)] == [AARON]


@pytest.mark.parametrize("jid", ["", "bad@@jid", "UPPER@example.org", "aaron@example.org/phone", "pending"])
def test_jids_are_pushed_as_they_are(
    prosody: Prosody, roster_service: RosterService, clients: Clients, jid: str
) -> None:
    prosody.register("john")
    john = clients.login("john")
    roster_service.rosters["john"] = {jid: {}}
    assert json.loads(prosody.refresh("john")[1]) == FINE
    assert [contact.jid for contact in john.pushes.wait_for_number(1)] == [jid]
    assert list(john.roster()) == ([] if jid == "pending" else [jid])


def test_subscription_and_ask_are_ignored(prosody: Prosody, roster_service: RosterService, clients: Clients) -> None:
    prosody.register("john")
    john = clients.login("john")
    roster_service.rosters["john"] = {AARON: {"subscription": "from", "ask": "subscribe"}}
    prosody.refresh("john")
    assert [contact.subscription for contact in john.pushes.wait_for_number(1)] == ["both"]


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


@pytest.mark.parametrize("status", [404, 500])
def test_a_service_that_says_no_at_login_ends_the_session(
    prosody: Prosody, roster_service: RosterService, clients: Clients, status: int
) -> None:
    prosody.register("john")
    roster_service.answers["john"] = status
    john = clients.login("john", roster=False)
    assert john.ask(john.jid, "<query xmlns='jabber:iq:roster'/>") == ("error", "internal-server-error")
    assert john.ended.wait(60)


@pytest.mark.parametrize("answer", ["close", b"no JSON", b'{"a@example.org": null}'], ids=repr)
def test_bad_data_at_login_leaves_the_request_for_the_roster_without_an_answer(
    prosody: Prosody, roster_service: RosterService, clients: Clients, answer: bytes
) -> None:
    prosody.register("john")
    roster_service.answers["john"] = answer
    john = clients.login("john", roster=False)
    with pytest.raises(TimeoutError):
        john.roster(timeout_s=UNANSWERED_S)
    assert not john.ended.is_set()


def test_a_client_cannot_change_its_roster(prosody: Prosody, roster_service: RosterService, clients: Clients) -> None:
    prosody.register("john")
    john = clients.login("john")
    query = f"<query xmlns='jabber:iq:roster'><item jid='{AARON}'/></query>"
    assert john.ask(john.jid, query, "set") == ("error", "service-unavailable")


def test_a_slow_service_delays_the_answer_and_nobody_else(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    prosody.register("john")
    john = clients.login("john")
    go_on = threading.Event()
    roster_service.before = lambda _user: go_on.wait(60)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(prosody.refresh, "john")
        until(lambda: roster_service.asked["john"] == 2, "the slow refresh asks")
        assert json.loads(prosody.refresh("nobody")[1]) == FINE
        assert not slow.done()
        go_on.set()
        assert slow.result()[0] == 200
    assert john.pushes.all == []


def test_a_stale_reply_that_lands_late_undoes_a_newer_one(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    john, answers = two_refreshes_in_flight(prosody, roster_service, clients)
    assert answers == [200, 200]
    assert [contact.subscription for contact in john.pushes.wait_for_number(2)] == ["both", "remove"]


@with_switches
def test_with_order_asked_the_stale_reply_is_dropped(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    prosody.turn(order="asked")
    john, answers = two_refreshes_in_flight(prosody, roster_service, clients)
    assert answers == [200, 200]
    assert list(john.roster()) == [AARON]


def two_refreshes_in_flight(prosody: Prosody, service: RosterService, clients: Clients) -> tuple[Client, list[int]]:
    """The first one reads the old roster and lands after the second, which read the new one."""
    prosody.register("john")
    john = clients.login("john")
    second_done = threading.Event()
    # The roster was looked up before this blocks.
    service.before = lambda _user: second_done.wait(20) if service.asked["john"] == 2 else None
    with ThreadPoolExecutor() as pool:
        first = pool.submit(prosody.refresh, "john")
        until(lambda: service.asked["john"] == 2, "the first refresh asks")
        service.rosters["john"] = {AARON: {}}
        second = prosody.refresh("john")[0]
        second_done.set()
        return john, [first.result()[0], second]


def test_three_hundred_online_users_are_asked_for_all_at_once(prosody: Prosody, roster_service: RosterService) -> None:
    users = [f"user{number}" for number in range(300)]
    prosody.appear(users)
    until(lambda: len(roster_service.gets) == 300, "all have asked for their rosters", BUSY_S)
    until(lambda: prosody.sent().get("iq") == 300, "all have their rosters", BUSY_S)
    prosody.traffic()
    gate = threading.Event()
    roster_service.before = lambda _user: gate.wait(BUSY_S)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(prosody.refresh, *users, timeout_s=2 * BUSY_S)
        until(lambda: len(roster_service.gets) == 600, "all of them are asked for", BUSY_S)
        gate.set()
        assert json.loads(answer.result()[1])["errors"] == 0
    traffic = prosody.traffic()
    assert (traffic.asked, traffic.peak, traffic.open) == (300, 300, 0)
    assert traffic.came == {"POST /roster_admin/refresh": 1}


def test_requests_that_wait_survive_a_reload_of_the_module(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    prosody.register("john")
    john = clients.login("john")
    gate = threading.Event()
    roster_service.before = lambda _user: gate.wait(60)
    roster_service.rosters["john"] = {AARON: {}}
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(prosody.refresh, "john")
        until(lambda: roster_service.asked["john"] == 2, "the refresh asks")
        prosody.reload("http_roster_admin")
        gate.set()
        assert answer.result()[0] == 200
    assert len(john.pushes.wait_for_number(1)) == 1


def test_without_the_module_refreshes_are_a_404(prosody: Prosody) -> None:
    prosody.unload("http_roster_admin")
    try:
        assert prosody.refresh("john")[0] == 404
    finally:
        prosody.load("http_roster_admin")
    assert prosody.refresh("john")[0] == 200


def test_a_login_in_the_url_is_sent_as_basic_and_percent_signs_in_it_stay(make_prosody: Callable[..., Prosody]) -> None:
    # A percent sign in the URL is doubled: names are put in with a format.
    own = make_prosody(roster_login="prosody:s3c%%20ret@", roster_path="/rosters/%s?key=k%%20y", modules=ROSTERS_ONLY)
    with RosterService(own.roster_port) as service, Clients(own.c2s_port) as clients:
        own.register("john")
        clients.login("john")
    [get] = service.gets
    assert get.headers["authorization"] == "Basic cHJvc29keTpzM2MlMjByZXQ="
    assert get.target == "/rosters/john?key=k%20y"


def test_after_a_restart_accounts_are_there_and_each_login_fetches_the_roster(
    make_prosody: Callable[..., Prosody],
) -> None:
    own = make_prosody(modules=ROSTERS_ONLY)
    own.register("john")
    with RosterService(own.roster_port) as service, Clients(own.c2s_port) as clients:
        john = clients.login("john")
        own.restart()
        assert john.ended.wait(60)
        clients.login("john")
        assert service.asked == {"john": 2}


@with_switches
def test_each_oddity_can_be_turned_off(prosody: Prosody, roster_service: RosterService, clients: Clients) -> None:
    prosody.turn(empty_refresh="ok", bad_data="error", no_presence="ok", invalid_json=400, poison_stays="never")
    prosody.register("john")
    clients.login("john", presence=False)
    assert prosody.refresh()[0] == 200
    assert prosody.call("POST", "/roster_admin/refresh", "no JSON")[0] == 400
    roster_service.answers["john"] = b'["x"]'
    assert json.loads(prosody.refresh("john")[1])["errors"] == 1
    del roster_service.answers["john"]
    roster_service.rosters["john"] = {AARON: {}}
    assert json.loads(prosody.refresh("john")[1]) == FINE


@with_switches
def test_errors_can_be_a_map_and_verdicts_forced(
    prosody: Prosody, roster_service: RosterService, clients: Clients
) -> None:
    prosody.turn(errors_as="map", verdict="error")
    prosody.register("john")
    clients.login("john")
    roster_service.answers["john"] = 500
    assert list(json.loads(prosody.refresh("john", "nobody")[1])["errors"]) == ["john"]
    assert ask_one(prosody, "nobody") == "error"


@with_switches
def test_concurrency_can_be_bounded(prosody: Prosody, roster_service: RosterService) -> None:
    users = [f"user{number}" for number in range(30)]
    prosody.appear(users)
    until(lambda: prosody.sent().get("iq") == 30, "all have their rosters")
    roster_service.peak = 0
    roster_service.before = lambda _user: time.sleep(0.001)
    prosody.turn(concurrency=5)
    assert json.loads(prosody.refresh(*users)[1])["updated"] == 30
    assert roster_service.peak <= 5


@with_switches
def test_it_can_be_silent(prosody: Prosody) -> None:
    prosody.turn(silent=True)
    assert is_unanswered(prosody, "nobody")
    prosody.turn(silent=None)
    assert prosody.refresh("nobody")[0] == 200


def test_a_service_that_nobody_runs_leaves_a_refresh_without_an_answer(prosody: Prosody, clients: Clients) -> None:
    prosody.register("john")
    with RosterService(prosody.roster_port):
        clients.login("john")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", prosody.roster_port)) != 0
    assert is_unanswered(prosody, "john")
