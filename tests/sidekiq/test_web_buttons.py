"""Every button of Sidekiq Web does to restbroker's jobs what it says, and each job is in one place after.

The pages: test_web.py; the buttons for processes: test_web_busy.py.
"""

import json
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import pytest

from restbroker.job import signing
from restbroker.job.arguments import Submission
from restbroker.job.command import Command
from restbroker.job.json_types import Json
from tests.support.html_page import Page
from tests.support.scripted import QUEUE, Citizen, jid_of, job
from tests.support.sidekiq_web import SidekiqWeb
from tests.support.wait import until

USERS: Final = [f"fails{number}" for number in range(6)]
REFUSED: Final = [f"refused{number}" for number in range(6)]
LATER: Final = [f"later{number}" for number in range(6)]


@pytest.fixture
def failing(citizen: Citizen) -> Citizen:
    """A running broker, and six jobs that failed for the ninth time, due in two hours."""
    citizen.start()
    first_s = time.time() - 4000.5
    citizen.push(*[job(user, retry_count=8, failed_at=first_s) for user in USERS])
    citizen.wait_until_in("retry", len(USERS))
    return citizen


@pytest.fixture
def with_dead(citizen: Citizen) -> Citizen:
    """A running broker, and six jobs that the server refused."""
    citizen.start()
    citizen.push(*[job(user) for user in REFUSED])
    citizen.wait_until_in("dead", len(REFUSED))
    return citizen


@pytest.fixture
def scheduled(citizen: Citizen) -> Citizen:
    """A running broker, and six jobs that are due in an hour."""
    citizen.start()
    for number, user in enumerate(LATER):
        citizen.client.command("ZADD", "schedule", time.time() + 3600 + number, job(user))
    return citizen


@pytest.fixture
def waiting(citizen: Citizen) -> Citizen:
    """A running broker that takes nothing out of its queue, with seven jobs in it."""
    citizen.client.command("SADD", "paused", QUEUE)
    citizen.push(*[job(f"user{number}", arguments={"odd": 'Größe "\\" </td>\n☂'}) for number in range(6)])
    # As Python writes it: with blanks.
    citizen.push(json.dumps(json.loads(job("user6"))).encode())
    citizen.start()
    return citizen


@pytest.mark.nightly
def test_retry_now_runs_a_signed_job_and_then_bars_its_copy(citizen: Citizen, web: SidekiqWeb) -> None:
    secret = "a-secret-of-enough-length"
    citizen.configure(Tokens={"app": {"Secret": secret, "Signed": True}})
    broker = citizen.start()
    both = []
    for user in ("fails0", "refused0"):
        submission = Submission(Command("check_account", {"user": user, "host": "example.org"}), None, None)
        token = signing.sign(secret, "app", int(time.time()), jid_of(user), submission, QUEUE)
        args: list[Json] = ["check_account", {"user": user, "host": "example.org"}, token]
        both.append(job(user, args=args, retry_count=8, failed_at=time.time() - 4000.5))
    citizen.push(*both)
    citizen.wait_until_in("retry", 1)
    citizen.wait_until_in("dead", 1)
    citizen.script.mended.set()
    _press_checked(web, "/retries", "retry", ["fails0"])
    _press_checked(web, "/morgue", "retry", ["refused0"])
    citizen.wait_until_sent(4)
    citizen.wait_until_idle()
    citizen.push(*both)
    broker.wait_for("code=JobReplayed")
    citizen.wait_until_idle()
    assert citizen.times_sent() == Counter({"fails0": 2, "refused0": 2})
    assert _places(citizen) == {}


BY_NIGHT = [pytest.param(*act, marks=pytest.mark.nightly) for act in (("delete", None), ("kill", "dead"))]


@pytest.mark.promise("Sidekiq: retries", "delete, kill, all of them")
@pytest.mark.parametrize(("button", "place"), [("retry", None), *BY_NIGHT])
def test_the_buttons_for_all_retries_reach_each_once(
    failing: Citizen, web: SidekiqWeb, button: str, place: str | None
) -> None:
    failing.script.mended.set()
    page = web.open("/retries")
    after = web.press(page, page.form(f"/retries/all/{button}"), button)
    assert "No retries were found" in after.text
    again = USERS if button == "retry" else []
    failing.wait_until_sent(len(USERS) + len(again))
    failing.wait_until_idle()
    assert failing.times_sent() == Counter([*USERS, *again])
    assert _places(failing) == ({user: [place] for user in USERS} if place else {})


@pytest.mark.promise("Sidekiq: web pages and API", "details behind each link")
@pytest.mark.nightly
def test_the_buttons_of_a_retrys_details_reach_this_job_only(failing: Citizen, web: SidekiqWeb) -> None:
    failing.script.mended.set()
    _press_in_details(web, "/retries", USERS[4], "delete")
    after = _press_in_details(web, "/retries", USERS[3], "retry")
    others = [user for user in USERS if user not in USERS[3:5]]
    assert _shown(after, "/retries") == others
    failing.wait_until_sent(len(USERS) + 1)
    failing.wait_until_idle()
    assert failing.times_sent() == Counter([*USERS, USERS[3]])
    assert _places(failing) == {user: ["retry"] for user in others}


@pytest.mark.promise("Sidekiq: scheduled jobs", "add to queue, delete")
@pytest.mark.nightly
@pytest.mark.parametrize("button", ["add_to_queue", "delete"])
def test_scheduled_jobs_that_are_checked_are_sent_now_or_deleted(
    scheduled: Citizen, web: SidekiqWeb, button: str
) -> None:
    after = _press_checked(web, "/scheduled", button, LATER[:2])
    assert _shown(after, "/scheduled") == LATER[2:]
    sent = LATER[:2] if button == "add_to_queue" else []
    scheduled.wait_until_sent(len(sent))
    scheduled.wait_until_idle()
    assert scheduled.times_sent() == Counter(sent)
    assert _places(scheduled) == {user: ["schedule"] for user in LATER[2:]}


@pytest.mark.promise("Sidekiq: dead jobs", "retry, delete, all of them")
def test_the_morgues_buttons_reach_the_checked_jobs(with_dead: Citizen, web: SidekiqWeb) -> None:
    with_dead.script.mended.set()
    after = _press_checked(web, "/morgue", "delete", REFUSED[:2])
    assert _shown(after, "/morgue") == REFUSED[2:]
    after = _press_checked(web, "/morgue", "retry", REFUSED[2:4])
    assert _shown(after, "/morgue") == REFUSED[4:]
    _wait_for_dead(with_dead, REFUSED[2:4], left=REFUSED[4:])


@pytest.mark.promise("Sidekiq: dead jobs", "retry, delete, all of them")
@pytest.mark.promise("Sidekiq: web pages and API", "scan, clear, kill_all")
@pytest.mark.nightly
@pytest.mark.parametrize("button", ["retry", "delete"])
def test_the_buttons_for_all_the_dead_reach_each_once(with_dead: Citizen, web: SidekiqWeb, button: str) -> None:
    with_dead.script.mended.set()
    page = web.open("/morgue")
    after = web.press(page, page.form(f"/morgue/all/{button}"), button)
    assert "No dead jobs were found" in after.text
    _wait_for_dead(with_dead, REFUSED if button == "retry" else [], left=[])


@pytest.mark.promise("Sidekiq: web pages and API", "Queues, a queue's pages")
@pytest.mark.nightly
def test_delete_takes_only_this_job_of_a_queue(waiting: Citizen, web: SidekiqWeb) -> None:
    for user in ("user2", "user6"):
        page = web.open(f"/queues/{QUEUE}")
        (form,) = [form for form in page.forms if f'"{user}"' in form.hidden.get("key_val", "")]
        page = web.press(page, form, "delete")
        assert f'"{user}"' not in page.text
    assert waiting.queued() == 5
    waiting.client.command("SREM", "paused", QUEUE)
    waiting.wait_until_sent(5)
    waiting.wait_until_idle()
    assert waiting.times_sent() == Counter(f"user{number}" for number in (0, 1, 3, 4, 5))


def _press_checked(web: SidekiqWeb, path: str, button: str, users: Sequence[str]) -> Page:
    page = web.open(path)
    keys = _keys(page, path)
    return web.press(page, page.form(path), button, check=[keys[user] for user in users])


def _press_in_details(web: SidekiqWeb, path: str, user: str, button: str) -> Page:
    link = f"{path}/{_keys(web.open(path), path)[user]}"
    page = web.open(link)
    assert page.url.endswith(link)
    return web.press(page, page.form(link), button)


def _keys(page: Page, path: str) -> dict[str, str]:
    """By user: what the list names an entry, in its link as in its box."""
    boxes = [value for form in page.forms if form.action == path for _, value in form.boxes]
    assert boxes == [link.removeprefix(f"{path}/") for link in page.links_to(f"{path}/")]
    return {bytes.fromhex(key.partition("-")[2]).lstrip(b"\0").decode(): key for key in boxes}


def _shown(page: Page, path: str) -> list[str]:
    assert page.url.endswith(path)
    return sorted(_keys(page, path))


def _wait_for_dead(with_dead: Citizen, again: Sequence[str], left: Sequence[str]) -> None:
    with_dead.wait_until_sent(len(REFUSED) + len(again))
    with_dead.wait_until_idle()
    assert with_dead.times_sent() == Counter([*REFUSED, *again])
    assert _places(with_dead) == {user: ["dead"] for user in left}


def _places(citizen: Citizen) -> dict[str, list[str]]:
    """By user: every set that holds a job for it."""
    found: dict[str, list[str]] = {}
    for zset in ("retry", "schedule", "dead"):
        for fields in citizen.members(zset):
            found.setdefault(_user(fields), []).append(zset)
    return found


def _user(fields: dict[str, Any]) -> str:
    return str(fields["args"][1]["user"])


@pytest.mark.nightly
def test_an_edited_job_is_shown_retried_and_deleted_as_any_other(with_dead: Citizen, web: SidekiqWeb) -> None:
    for number in (1, 2):
        with_dead.restbroker("dead", "edit", jid_of(REFUSED[number]), f"user=fine{number}", "--yes")
    for button, number in (("delete", 2), ("retry", 1)):
        page = web.open("/morgue")
        assert f'"fine{number}"' in page.text
        form = page.form("/morgue")
        (key,) = [value for _, value in form.boxes if value.endswith(jid_of(REFUSED[number]))]
        assert f'"fine{number}"' not in web.press(page, form, button, [key]).text
    until(lambda: with_dead.times_sent()["fine1"] == 1, "it is sent as what it became")
    assert with_dead.times_sent()["fine2"] == 0
