"""The login of the pages over real HTTP, and what forms of strangers come to."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
import trio

from restbroker.config.secret import Secret
from restbroker.config.target import Basic
from restbroker.telemetry.events import OperatorWarning, TargetDown
from restbroker.transport.errors import NotSent
from restbroker.web import guard
from restbroker.web.sessions import LoginAttempts
from restbroker.web.settings import Settings
from tests.broker.conftest import Harness
from tests.web.conftest import HTML, Open, Site

PASSWORD = "sesame-4711"
PAGES = ("/", "/targets", "/queues", "/processes")


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return file


@pytest.fixture
def _no_try_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does every twelve seconds, which a busy machine may need for a few."""
    monkeypatch.setattr(guard, "LoginAttempts", lambda _now_s: LoginAttempts(lambda: 0.0))


@pytest.fixture
def settings(password: Path) -> Settings:
    return Settings("127.0.0.1", login=Basic("ops", Secret(path=password)))


def mark_of(answer: httpx.Response) -> str:
    found = re.search(r'name="mark" value="(\w+)"', answer.text)
    assert found, answer.text
    return found[1]


async def send(running: Site, path: str, form: Mapping[str, str], **headers: str) -> httpx.Response:
    address = f"{running.stats.addresses[0]}{path}"
    return await running.client.post(address, data=dict(form), headers=HTML | headers)


async def log_in(running: Site, password: str = PASSWORD, user: str = "ops", **more: str) -> httpx.Response:
    mark = mark_of(await running.get("/login"))
    return await send(running, "/login", {"mark": mark, "user": user, "password": password, **more})


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.promise("Security: who can reach the ports", "to get in without the login")
async def test_without_a_login_there_is_only_the_form(site: Open) -> None:
    async with site() as running:
        answers = [await running.get(path) for path in PAGES]
        stream = await running.get("/live?page=overview")
    assert stream.status_code == 401
    for answer in answers:
        assert (answer.status_code, answer.text) == (303, "")
        assert answer.headers["location"].startswith("/login")


@pytest.mark.promise("Security: who can reach the ports", "as a page in an operator's browser, to read /stats")
async def test_without_a_login_one_learns_how_it_is_and_neither_why_nor_which_target_is_down(
    harness: Harness, site: Open
) -> None:
    harness.target.probe_answer = NotSent("refused")
    async with site() as running:
        await harness.until(lambda: harness.of(TargetDown), "the target is down")
        before = [await running.get_health(path) for path in ("/healthz", "/readyz")]
        await log_in(running)
        after = await running.get_health("/readyz")
    assert [answer.status_code for answer in before] == [200, 200]
    assert [answer.json() for answer in before] == [{"alive": True}, {"ready": True, "phase": "serving"}]
    assert after.json()["down_targets"] == {"t": "TargetUnreachable"}


async def test_the_cookie_is_new_with_each_login_for_this_site_alone_and_out_of_reach_of_scripts(site: Open) -> None:
    async with site() as running:
        assert running.client.cookies.get("restbroker-visit") is None
        await running.get("/login")
        before = running.client.cookies["restbroker-visit"]
        answer = await log_in(running)
        assert running.client.cookies["restbroker-visit"] != before
        cookie = answer.headers["set-cookie"]
        encrypted = await running.get("/login", **{"X-Forwarded-Proto": "https", "Cookie": ""})
        running.client.cookies.clear()
        assert (await running.get("/", Cookie=f"restbroker-visit={before}")).status_code == 303
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert "Max-Age=43200" in cookie
    assert "Secure" not in cookie
    assert "Secure" in encrypted.headers["set-cookie"]


async def test_a_wrong_login_is_refused_without_a_word_about_what_was_wrong(site: Open) -> None:
    async with site() as running:
        for user, given in (("ops", "wrong"), ("other", PASSWORD), ("", ""), ("öps", "\u00ff")):
            answer = await log_in(running, given, user)
            assert (await running.get("/")).status_code == 303
            assert answer.status_code == 403
            assert "User or password is wrong." in answer.text


@pytest.mark.promise("Security: who can reach the ports", "to get in without the login")
@pytest.mark.usefixtures("_no_try_comes_back")
async def test_after_five_wrong_tries_the_right_password_is_not_heard_either(harness: Harness, site: Open) -> None:
    async with site() as running:
        for _ in range(5):
            assert (await log_in(running, "wrong")).status_code == 403
        answer = await log_in(running)
        by_program = await running.get_stats(Authorization=basic("ops", PASSWORD))
        metrics = await running.get_metrics(Authorization=f"Bearer {PASSWORD}")
        without = await running.get_stats()
    assert "Too many wrong tries" in answer.text
    assert (by_program.status_code, metrics.status_code, without.status_code) == (429, 429, 401)
    assert by_program.json()["error"]["message"] == "Too many wrong tries. Wait a minute."
    assert by_program.headers["retry-after"] == "60"
    assert "www-authenticate" not in by_program.headers
    # Once a minute, not each time.
    (warned,) = harness.of(OperatorWarning)
    assert warned.code == "LoginsThrottled"
    assert "127.0.0.1" in warned.message
    assert not any(word in str(warned) for word in ("ops", PASSWORD, "wrong-"))


async def test_a_changed_password_file_counts_at_once_and_a_missing_one_is_told(
    password: Path, harness: Harness, site: Open
) -> None:
    async with site() as running:
        await trio.Path(password).write_text("another\n")
        assert (await log_in(running)).status_code == 403
        assert (await log_in(running, "another")).status_code == 303
        running.client.cookies.clear()
        await trio.Path(password).unlink()
        answer = await log_in(running, "another")
    assert "the password cannot be read" in answer.text
    assert [warned.code for warned in harness.of(OperatorWarning)] == ["LoginUnreadable"]


@pytest.mark.promise("Security: who can reach the ports", "to get in without the login")
async def test_a_changed_password_logs_everybody_out_and_one_that_cannot_be_read_nobody(
    password: Path, site: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_READ_AGAIN_S", 0.0)
    async with site() as running:
        await log_in(running)
        before = await running.get("/")
        await trio.Path(password).unlink()
        unread = await running.get("/")
        await trio.Path(password).write_text(f"{PASSWORD}\n")
        again = await running.get("/")
        await trio.Path(password).write_text("another\n")
        after = await running.get("/")
    assert [answer.status_code for answer in (before, unread, again, after)] == [200, 200, 200, 303]


async def test_programs_log_in_with_each_request(site: Open) -> None:
    async with site() as running:
        refused = await running.get_stats()
        for given in (basic("ops", PASSWORD), f"Bearer {PASSWORD}"):
            answer = await running.get_stats(Authorization=given)
            # Else a page of another site could use a browser's memory of it.
            on_a_page = await running.get("/", Authorization=given)
            assert (refused.status_code, answer.status_code, on_a_page.status_code) == (401, 200, 303)
    assert refused.headers["www-authenticate"].startswith("Basic ")
    assert refused.json()["error"]["code"] == "LoginNeeded"


async def test_what_is_no_right_login_of_a_program_is_refused(site: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "LoginAttempts", lambda now_s: LoginAttempts(now_s, per_address=100))
    wrong = (basic("ops", "wrong"), "Bearer wrong", "Basic ###", "Digest x", "Bearer", "Basic")
    async with site() as running:
        statuses = {given: (await running.get_stats(Authorization=given)).status_code for given in wrong}
    assert statuses == dict.fromkeys(wrong, 401)


async def test_wrong_tries_from_elsewhere_keep_nobody_out(site: Open) -> None:
    async with site() as running:
        statuses = set()
        for number in range(2, 42):
            transport = httpx.AsyncHTTPTransport(local_address=f"127.0.0.{number}")
            async with httpx.AsyncClient(transport=transport) as stranger:
                url = f"{running.stats.addresses[0]}/metrics"
                statuses.add((await stranger.get(url, headers={"Authorization": "Bearer wrong"})).status_code)
        answer = await running.get_metrics(Authorization=basic("ops", PASSWORD))
    assert (statuses, answer.status_code) == ({401}, 200)


@pytest.mark.usefixtures("_no_try_comes_back")
async def test_the_token_of_metrics_opens_nothing_else_and_is_never_blocked(site: Open, tmp_path: Path) -> None:
    token, login = "of=metrics=alone==", Basic("ops", Secret(PASSWORD))
    settings = Settings("127.0.0.1", login=login, metrics_token=Secret(token))
    async with site(settings=settings) as running:
        elsewhere = await running.get_stats(Authorization=f"Bearer {token}")
        wrong = [(await running.get_metrics(Authorization=f"Bearer wrong-{n}")).status_code for n in range(10)]
        by_password = await running.get_metrics(Authorization=basic("ops", PASSWORD))
        by_token = await running.get_metrics(Authorization=f"bearer {token}")
        pages = await running.get("/", Authorization=f"Bearer {token}")
    assert elsewhere.status_code == 401
    assert wrong == [401] * 4 + [429] * 6
    assert (by_password.status_code, by_token.status_code, pages.status_code) == (429, 200, 303)


async def test_without_a_login_a_token_still_protects_metrics(site: Open, tmp_path: Path, harness: Harness) -> None:
    file = tmp_path / "token"
    file.write_text("of-metrics-alone\n")
    async with site(settings=Settings("127.0.0.1", metrics_token=Secret(path=file))) as running:
        refused = await running.get_metrics()
        answer = await running.get_metrics(Authorization="Bearer of-metrics-alone")
        stats = await running.get_stats()
        await trio.Path(file).unlink()
        unread = await running.get_metrics(Authorization="Bearer of-metrics-alone")
    assert (refused.status_code, answer.status_code, stats.status_code, unread.status_code) == (401, 200, 200, 401)
    assert [warned.code for warned in harness.of(OperatorWarning)] == ["LoginUnreadable"]


@pytest.mark.promise("Security: who can reach the ports", "as a page in an operator's browser, to send a form")
async def test_a_form_of_another_site_is_refused(site: Open) -> None:
    foreign: list[dict[str, str]] = [{"Sec-Fetch-Site": name} for name in ("cross-site", "same-site", "none")]
    foreign += [{"Origin": name} for name in ("https://evil.example", "null")]
    async with site() as running:
        for headers in foreign:
            mark = mark_of(await running.get("/login"))
            form = {"mark": mark, "user": "ops", "password": PASSWORD}
            answer = await send(running, "/login", form, **headers)
            assert answer.status_code == 403, headers
            assert (await running.get("/")).status_code == 303, headers


@pytest.mark.promise("Security: who can reach the ports", "as a page in an operator's browser, to send a form")
async def test_a_form_without_the_mark_of_this_visitor_is_refused(site: Open) -> None:
    async with site() as running:
        await running.get("/login")
        for mark in ("", "0" * 64, "ü"):
            answer = await send(running, "/login", {"mark": mark, "user": "ops", "password": PASSWORD}, Accept="*/*")
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "StaleForm")


async def test_a_login_leads_to_no_other_site(site: Open) -> None:
    async with site() as running:
        assert 'name="then" value="/queues?x=1"' in (await log_in(running, "wrong", then="/queues?x=1")).text
        assert 'name="then" value="/"' in (await log_in(running, "wrong", then="//evil.example")).text
        for then in ("//evil.example", "https://evil.example", "/\\evil.example", "x", "/a\nb"):
            running.client.cookies.clear()
            assert (await log_in(running, then=then)).headers["location"] == "/"


async def test_a_form_that_is_too_long_is_not_read(site: Open) -> None:
    async with site() as running:
        answer = await log_in(running, "x" * 70_000)
    assert answer.status_code == 413


@pytest.mark.promise("Security: who can reach the ports", "to get in without the login")
@pytest.mark.usefixtures("_no_try_comes_back")
async def test_of_tries_at_one_moment_no_more_are_heard_than_of_as_many_in_a_row_and_others_go_on(
    site: Open,
) -> None:
    answers: list[httpx.Response] = []
    async with site() as running:
        visitor = await log_in(running)
        name = running.client.cookies["restbroker-visit"]
        running.client.cookies.clear()
        mark = mark_of(await running.get("/login"))
        form = {"mark": mark, "user": "ops", "password": "wrong"}

        async def attempt() -> None:
            answers.append(await send(running, "/login", form))

        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(attempt)
            shown = await running.get("/queues", Cookie=f"restbroker-visit={name}")
        ready = await running.get_ready()
    assert visitor.status_code == 303
    assert shown.status_code == ready.status_code == 200
    assert [answer.status_code for answer in answers] == [403] * 60
    # Ten, as someone logged in from this address.
    assert sum("User or password is wrong." in answer.text for answer in answers) == 10
