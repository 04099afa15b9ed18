"""Finding jobs: pages, conditions, what is shown and what cannot be guessed."""

import json
from typing import Any

import pytest

from restbroker.job.names import BODY_NAMES
from restbroker.operate.context import ConfigContext
from restbroker.operate.find import ResultPage, SearchLimits, is_key, one, page, waiting_page
from restbroker.operate.where import Where, read
from restbroker.store import queues
from restbroker.store.client import Client
from tests.operate.conftest import NOW_S, Put, job
from tests.support.stack import little_room


def where(*typed: str) -> Where:
    return read(typed, NOW_S)


def jids(found: ResultPage) -> list[str | None]:
    return [entry.jid for entry in found.entries]


def test_dead_jobs_come_newest_first_page_by_page(client: Client, configured: ConfigContext, put: Put) -> None:
    for n in range(5):
        put("dead", NOW_S + n, f"j{n}")
    first = page(client, "dead", (), configured, limit=3)
    assert (jids(first), first.total) == (["j4", "j3", "j2"], 5)
    assert first.after is not None
    put("dead", NOW_S + 9, "new")
    second = page(client, "dead", (), configured, after=first.after, limit=3)
    assert (jids(second), second.after) == (["j1", "j0"], None)
    whole = page(client, "dead", (), configured, limit=6)
    assert (len(whole.entries), whole.after) == (6, None)


@pytest.mark.promise("Security: who can reach the ports", "as a producer, to break a page")
def test_tries_from_a_producer_show_no_token(client: Client, configured: ConfigContext, put: Put) -> None:
    tries = [{"at": 1, "outcome": {"by": ["right-token"]}, "code": "x", "right-token": 1, "excerpt": "right-token"}]
    put("dead", NOW_S, "j1", restbroker_attempts=[*tries, {"ms": 10**400}, "no try"])
    (entry,) = page(client, "dead", (), configured).entries
    assert "right-token" not in repr(entry)
    assert [dict(attempt) for attempt in entry.history] == [
        {"at": 1, "outcome": "…", "code": "x", "excerpt": "***"},
        {"ms": "…"},
    ]


def test_attempts_of_a_retried_job_count_its_tries(client: Client, configured: ConfigContext, put: Put) -> None:
    tries = [{"outcome": outcome} for outcome in ("rejected", "rejected", "killed")]
    put("dead", NOW_S, "j1", retry_count=0, restbroker_attempts=tries)
    (entry,) = page(client, "dead", (), configured).entries
    assert entry.attempts == 2


def test_each_field_finds_its_jobs(client: Client, configured: ConfigContext, put: Put) -> None:
    put("dead", NOW_S, "a", command="send_message", arguments={"to": "bob@x", "n": 5})
    put("dead", NOW_S + 1, "b", queue="other", error_class="BadToken", retry_count=4, failed_at=NOW_S - 90_000)
    put("dead", NOW_S + 2, "c", queue="foreign", error_message="TIMED out.", enqueued_at=int(NOW_S * 1000) - 7_200_000)
    for typed, expected in {
        "jid = a": ["a"],
        "command = send_*": ["a"],
        "queue = other": ["b"],
        "target = other": ["b"],
        "target != ejabberd": ["c", "b"],
        "error = BadToken": ["b"],
        "error = 'BadToken'": ["b"],
        "error != BadToken": ["c", "a"],
        "message ~ timed": ["c"],
        "attempts > 1": ["b"],
        "failed_at < 2023-11-14T22:00": ["b"],
        "enqueued_at < '2023-11-14T22:00'": ["c"],
        "at = 2023-11-14": ["c", "b", "a"],
        "to = bob@x": ["a"],
        "n > 4": ["a"],
        "user = b": ["b"],
    }.items():
        assert jids(page(client, "dead", where(typed), configured)) == expected, typed
    assert jids(page(client, "dead", where("queue = rest", "n = 5"), configured)) == ["a"]


def test_a_search_that_used_up_its_budget_says_where_to_go_on(
    client: Client, configured: ConfigContext, put: Put
) -> None:
    for n in range(50):
        put("dead", NOW_S + n, f"j{n}")
    found, after, rounds = list[str | None](), None, 0
    while True:
        part = page(client, "dead", where("jid = j7"), configured, after=after, limits=SearchLimits(jobs=20))
        assert part.looked_at <= 20
        found, after, rounds = found + jids(part), part.after, rounds + 1
        if after is None:
            break
    assert (found, rounds) == (["j7"], 3)


SECRET = {"user": "bob", "password": "hush-hush", "host": "x"}
OF = {"propertyKey": "a", "value": "hush-hush"}


def test_no_secret_is_shown_in_any_field(client: Client, configured: ConfigContext) -> None:
    odd: list[Any] = [
        job("j1", arguments=SECRET, error_message="no right-token, hush-hush"),
        job("right-token", "right-token", SECRET),
        job("j3", args=json.dumps(["register", SECRET, "other-token"]), error_message="other-token"),
        job("j4", arguments=[["password", "hush-hush"], ["user", "bob"]]),
        job("j5", arguments={"text": "right-token", "deep": {"token": "hush-hush"}}),
        job("j6", "register?password=hush-hush"),
        job("j8", args=[json.dumps({"command": "register", "args": SECRET, "token": "other-token"})]),
        job("j9", args=[json.dumps(["register", SECRET, "other-token"])], error_message="other-token"),
        job("j7", arguments=SECRET, restbroker_attempts=[{"excerpt": "right-token said hush-hush"}]),
        job("j10", queue="openfire", args=["update_system_property", OF, "right-token"], error_message="no hush-hush"),
        job("j11", queue="openfire", args=["update_system_property", OF, "right-token", {"odd": 1}]),
        b"right-token is no job",
        b'["right-token"]',
        b"\xff",
    ]
    for n, raw in enumerate(odd):
        client.command("ZADD", "ns:dead", n, raw)
    shown = repr(page(client, "dead", (), configured).entries)
    assert not [word for word in ("hush-hush", "right-token", "other-token") if word in shown]
    assert shown.count("ShownJob(") == len(odd)


def test_message_texts_are_shown_and_found_only_with_show_bodies(
    client: Client, configured: ConfigContext, put: Put
) -> None:
    put("dead", 1, "j1", command="send_message", arguments={"body": "love letter", "to": "x"})
    (entry,) = page(client, "dead", (), configured).entries
    assert entry.arguments == {"body": "***", "to": "x"}
    assert jids(page(client, "dead", where("body ~ love"), configured)) == []
    assert jids(page(client, "dead", where("body != love"), configured)) == []
    assert set(configured.hidden) == BODY_NAMES
    shows = ConfigContext(configured.targets, configured.secrets, show_bodies=True)
    assert jids(page(client, "dead", where("body ~ love"), shows)) == ["j1"]
    assert shows.hidden == ()


def test_secret_cannot_be_guessed_by_searching(client: Client, configured: ConfigContext) -> None:
    raw = job("j1", arguments={"user": "bob", "password": "hush-hush"}, error_message="wrong: hush-hush, right-token")
    client.command("ZADD", "ns:dead", 1, raw)
    for typed in ("message ~ hush", "message ~ right-token", "message = *hush*", "jid = right*"):
        assert jids(page(client, "dead", where(typed), configured)) == [], typed
    assert jids(page(client, "dead", where("message != *hush*"), configured)) == ["j1"]
    assert jids(page(client, "dead", where("message ~ wrong"), configured)) == ["j1"]


def test_a_value_named_a_secret_by_its_neighbour_is_not_found(
    client: Client, configured: ConfigContext, put: Put
) -> None:
    put("dead", 1, "j1", arguments={"key": "password", "value": {"hunter22": 1}, "user": "bob", "password": "p"})
    (entry,) = page(client, "dead", where("arg.user = bob"), configured).entries
    assert entry.arguments == {"key": "password", "value": "***", "user": "bob", "password": "***"}
    assert jids(page(client, "dead", where("arg.value ~ hunter22"), configured)) == []


def test_payload_that_is_no_job_is_an_entry_all_the_same(client: Client, configured: ConfigContext) -> None:
    for n, raw in enumerate((b"5", b"{}", b'{"args":{},"jid":7,"queue":[],"error_class":[],"retry_count":"x"}')):
        client.command("ZADD", "ns:dead", n, raw)
    entries = page(client, "dead", (), configured).entries
    assert [entry.is_job for entry in entries] == [True, True, False]
    assert page(client, "dead", where("message ~ x", "attempts > 0"), configured).entries == ()


def test_a_large_job_is_listed_without_its_arguments(client: Client, configured: ConfigContext, put: Put) -> None:
    put("dead", 1, "big", arguments={"name": "x" * 100_000, "n": 7, "password": "hunter22"})
    (entry,) = page(client, "dead", where("n = 7"), configured).entries
    assert isinstance(entry.arguments, str)
    assert "bytes" in entry.arguments


def test_a_job_is_found_again_by_its_key_and_by_its_job_id(client: Client, configured: ConfigContext, put: Put) -> None:
    for n in range(30):
        put("dead", 5 if n < 20 else n, f"j{n}")
    for entry in page(client, "dead", (), configured, limit=30).entries:
        assert one(client, "dead", entry.key, configured) == entry
        assert entry.jid is not None
        assert one(client, "dead", entry.jid, configured) == entry
        assert entry.jid not in entry.key
    assert one(client, "dead", "nobody", configured) is None
    assert one(client, "retry", "j1", configured) is None


def test_a_job_id_may_look_like_a_key(client: Client, configured: ConfigContext, put: Put) -> None:
    rows: list[str] = ["nan-" + "0" * 40, "e-" + "0" * 40]
    for jid in rows:
        client.command("FLUSHALL")
        put("dead", 5, jid)
        assert not is_key(jid)
        found = one(client, "dead", jid, configured)
        assert found is not None
        assert found.jid == jid
        assert is_key(found.key)
        assert one(client, "dead", f"5.0-{'0' * 40}", configured) is None


def test_jobs_of_a_queue_are_listed_next_one_first_and_stay(client: Client, configured: ConfigContext) -> None:
    queues.push(client, "rest", [job(f"j{n}", retry_count=None, failed_at=None) for n in range(50)])
    first = waiting_page(client, "rest", (), configured, limit=30)
    assert jids(first) == [f"j{n}" for n in range(30)]
    second = waiting_page(client, "rest", (), configured, after=first.after, limit=30)
    assert (jids(second)[0], second.after) == ("j30", None)
    assert jids(waiting_page(client, "rest", where("jid = j44"), configured)) == ["j44"]
    assert waiting_page(client, "none", (), configured).entries == ()
    assert client.command("LLEN", "ns:queue:rest") == 50


def test_sent_job_is_known_from_marks_counts_and_tries(client: Client, configured: ConfigContext, put: Put) -> None:
    put("dead", 1, "marked", command="send_message", restbroker_may_have_run=True)
    put("dead", 2, "counted", restbroker_uncertain=1)
    put("dead", 3, "tried", restbroker_attempts=[{"outcome": "uncertain"}, {"outcome": "failed"}])
    put("dead", 4, "failed", restbroker_attempts=[{"outcome": "failed"}])
    found = {
        entry.jid: (entry.may_have_run, entry.repeat_safe) for entry in page(client, "dead", (), configured).entries
    }
    assert found == {
        "marked": (True, False), "counted": (True, True), "tried": (True, True), "failed": (False, True),
    }  # fmt: skip


def test_unserved_or_at_most_once_is_not_safe_to_repeat(configured: ConfigContext) -> None:
    assert configured.repeats("rest", "register")
    assert not configured.repeats("rest", "send_message")
    assert not configured.repeats("foreign", "register")
    assert not configured.repeats("rest", "no_such_command")
    assert not configured.repeats("rest", None)
    target = configured.targets["rest"]
    assert target.at_most_once, "the default names broadcasts"


def test_a_job_that_cannot_be_shown_is_a_line_that_says_why(
    client: Client, configured: ConfigContext, put: Put
) -> None:
    deep: Any = "hunter2-hunter2"
    for _ in range(90):
        deep = {"a": deep}
    raw = put("dead", NOW_S, "deep", arguments={"x": deep, "password": "hunter22"})
    put("dead", NOW_S - 1, "j2")
    with little_room(130):
        found = page(client, "dead", (), configured)
        searched = page(client, "dead", where("argument.x ~ hunter"), configured)
    line = "(not shown: it is nested too deeply)"
    assert [(entry.jid, entry.message) for entry in found.entries] == [(None, line), ("j2", "It failed.")]
    assert (found.entries[0].size_bytes, is_key(found.entries[0].key), found.entries[0].may_have_run) == (
        len(raw),
        True,
        True,
    )
    assert searched.entries == ()
