"""The login of the pages over real HTTP, for people and for programs: each request carries it."""

import base64
import json
from pathlib import Path

import pytest
import trio

from restbroker.config.secret import Secret
from restbroker.config.target import Basic
from restbroker.telemetry.events import OperatorWarning, TargetDown
from restbroker.transport.message import NotSent
from restbroker.web import guard
from restbroker.web.guard import LoginAttempts, PageSettings
from tests.broker.conftest import Harness
from tests.web.conftest import Open, Site

PASSWORD = "sesame-4711"
PAGES = ("/", "/targets", "/dead", "/live?page=overview", "/stats", "/metrics", "/nowhere")


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


RIGHT, WRONG = basic("ops", PASSWORD), basic("ops", "wrong")


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
def settings(password: Path) -> PageSettings:
    return PageSettings("127.0.0.1", login=Basic("ops", Secret(path=password)))


@pytest.mark.promise("Security: who can reach the ports", "to get in without the login")
async def test_without_the_login_no_page_is_shown_and_no_form_obeyed(harness: Harness, site: Open) -> None:
    form = {"do": "pause-queue", "name": "rest"}
    async with site() as running:
        answers = [await running.get(path) for path in PAGES]
        answers.append(await running.post("/steer", form))
        before = harness.client.command("SMEMBERS", "paused")
        let_in = [(await running.get(path, **RIGHT)).status_code for path in PAGES]
        done = await running.post("/steer", form, **RIGHT)
    for answer in answers:
        assert (answer.status_code, "Log in first." in answer.text) == (401, True)
        assert answer.headers["www-authenticate"] == 'Basic realm="restbroker", charset="UTF-8"'
        assert "set-cookie" not in answer.headers
    assert (let_in, done.status_code) == ([200] * 6 + [404], 303)
    assert (before, harness.client.command("SMEMBERS", "paused")) == ([], [b"rest"])


@pytest.mark.promise("Security: who can reach the ports", "as a page in an operator's browser, to read /stats")
async def test_without_the_login_one_learns_how_it_is_and_not_why(harness: Harness, site: Open) -> None:
    harness.target.probe_answer = NotSent("refused")
    async with site() as running:
        await harness.until(lambda: harness.of(TargetDown), "the target is down")
        before = [await running.ask(path) for path in ("/healthz", "/readyz")]
        wrong, after = [await running.ask("/readyz", **login) for login in (WRONG, RIGHT)]
    assert [answer.status_code for answer in before] == [200, 200]
    assert [answer.json() for answer in before] == [{"alive": True}, {"ready": True, "phase": "serving"}]
    assert (wrong.status_code, wrong.json()) == (200, before[1].json())
    assert after.json()["down_targets"] == {"t": "TargetUnreachable"}


async def test_a_wrong_login_is_refused_without_a_word_about_why(site: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "LoginAttempts", lambda now_s: LoginAttempts(now_s, per_address=100))
    wrong = [basic(*pair) for pair in (("ops", "wrong"), ("other", PASSWORD), ("", ""), ("öps", "ÿ"))]
    wrong += [{"Authorization": given} for given in ("Bearer wrong", "Basic ###", "Digest x", "Bearer", "Basic")]
    async with site() as running:
        answers = {(seen.status_code, seen.text) for seen in [await running.ask("/stats", **given) for given in wrong]}
        bearer = {path: (await running.get(path, Authorization=f"Bearer {PASSWORD}")).status_code for path in PAGES}
        unread = await running.post("/steer", {"do": "x" * 70_000}, **RIGHT)
    ((status, text),) = answers
    assert (status, json.loads(text)["error"]["code"], unread.status_code) == (401, "LoginNeeded", 413)
    assert bearer == dict.fromkeys(PAGES, 401) | {"/stats": 200, "/metrics": 200}


@pytest.mark.promise("Security: who can reach the ports", "to get in without the login")
@pytest.mark.usefixtures("_no_try_comes_back")
async def test_after_five_wrong_tries_the_right_password_is_not_tried(harness: Harness, site: Open) -> None:
    async with site() as running:
        for path in ("/", "/dead", "/stats", "/metrics", "/readyz"):
            await running.get(path, **WRONG)
        page, by_program = await running.get("/", **RIGHT), await running.ask("/stats", **RIGHT)
        metrics = await running.ask("/metrics", Authorization=f"Bearer {PASSWORD}")
        without, ready = await running.ask("/stats"), await running.ask("/readyz", **RIGHT)
    assert [answer.status_code for answer in (page, by_program, metrics, without)] == [429, 429, 429, 401]
    assert set(ready.json()) == {"ready", "phase"}
    assert "Too many wrong tries" in page.text
    assert by_program.json()["error"]["message"] == "Too many wrong tries. Wait a minute."
    assert by_program.headers["retry-after"] == "60"
    assert "www-authenticate" not in by_program.headers
    # Once a minute, not each time.
    (warned,) = harness.of(OperatorWarning)
    assert warned.code == "LoginsThrottled"
    assert "127.0.0.1" in warned.message
    assert not any(word in str(warned) for word in ("ops", PASSWORD, "wrong-"))


@pytest.mark.promise("Security: who can reach the ports", "to get in without the login")
async def test_a_changed_password_counts_and_a_lost_one_opens_nothing(
    password: Path, harness: Harness, site: Open
) -> None:
    async with site() as running:
        await trio.Path(password).write_text("another\n")
        answers = [await running.get("/", **RIGHT), await running.get("/", **basic("ops", "another"))]
        await trio.Path(password).unlink()
        answers += [await running.get("/", **basic("ops", given)) for given in ("another", "", "None")]
    assert [answer.status_code for answer in answers] == [401, 200, 503, 503, 503]
    assert "the password cannot be read" in answers[-1].text
    assert [warned.code for warned in harness.of(OperatorWarning)] == ["LoginUnreadable"]


@pytest.mark.usefixtures("_no_try_comes_back")
async def test_the_token_of_metrics_opens_nothing_else_unblocked(site: Open) -> None:
    token, login = "of=metrics=alone==", Basic("ops", Secret(PASSWORD))
    async with site(settings=PageSettings("127.0.0.1", login=login, metrics_token=Secret(token))) as running:
        elsewhere = await running.ask("/stats", Authorization=f"Bearer {token}")
        wrong = [(await running.ask("/metrics", Authorization=f"Bearer wrong-{n}")).status_code for n in range(10)]
        by_password = await running.ask("/metrics", **RIGHT)
        by_token = await running.ask("/metrics", Authorization=f"bearer {token}")
        pages = await running.get("/", Authorization=f"Bearer {token}")
    assert elsewhere.status_code == 401
    assert wrong == [401] * 4 + [429] * 6
    assert (by_password.status_code, by_token.status_code, pages.status_code) == (429, 200, 401)


async def test_without_a_login_a_token_still_protects_metrics(site: Open, tmp_path: Path, harness: Harness) -> None:
    file = tmp_path / "token"
    file.write_text("of-metrics-alone\n")
    async with site(settings=PageSettings("127.0.0.1", metrics_token=Secret(path=file))) as running:
        refused = await running.ask("/metrics")
        answer = await running.ask("/metrics", Authorization="Bearer of-metrics-alone")
        stats = await running.ask("/stats")
        await trio.Path(file).unlink()
        unread = await running.ask("/metrics", Authorization="Bearer of-metrics-alone")
    assert (refused.status_code, answer.status_code, stats.status_code, unread.status_code) == (401, 200, 200, 401)
    assert [warned.code for warned in harness.of(OperatorWarning)] == ["LoginUnreadable"]


@pytest.mark.promise("Security: who can reach the ports", "to get in without the login")
@pytest.mark.usefixtures("_no_try_comes_back")
async def test_tries_at_one_moment_are_no_more_than_as_many_in_a_row(site: Open) -> None:
    statuses: list[int] = []
    async with site() as running:
        visitor = await running.get("/", **RIGHT)

        async def attempt(running: Site = running) -> None:
            statuses.append((await running.get("/", **WRONG)).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(attempt)
        ready = await running.get_ready()
    assert visitor.status_code == ready.status_code == 200
    # Ten, as someone logged in from this address.
    assert (statuses.count(401), statuses.count(429)) == (10, 50)
