"""Whom `Tell` names is told: two real processes on a real Redis, and a server that does what no ejabberd does."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import pytest

from restbroker.operate.tell import HOUR_S
from restbroker.store import events
from restbroker.store.client import Client, StoreSettings, mapping, open_client
from tests.operate.conftest import job
from tests.support import process
from tests.support.answering import AnsweringServer
from tests.support.ports import free_port
from tests.support.process import Running
from tests.support.redis_server import RedisServer
from tests.support.shared import TOKEN
from tests.support.wait import until

KEY: Final = "restbroker:tell"
SOON_S: Final = 120.0
SAID: Final = "words of a server"
ARGUMENTS: Final = {"type": "chat", "from": "rb@example.org", "to": "ops@example.org", "subject": "", "body": "{text}"}
REFUSED: Final = json.dumps({"status": "error", "code": 10, "message": SAID}).encode()


class Night:
    """Two brokers that tell by the target `chat`, which answers with `status`, of it and of `dark`, which is down."""

    def __init__(self, place: Path, redis: RedisServer, client: Client, stack: ExitStack) -> None:
        self.place, self.redis, self.client, self.status = place, redis, client, 200
        self.chat = stack.enter_context(AnsweringServer(lambda _: self.status, lambda _: REFUSED))
        target = {"Kind": "ejabberd", "Queues": ["chat"], "URL": f"http://127.0.0.1:{self.chat.port}/api"}
        dark = {"Kind": "ejabberd", "Queues": ["dark"], "URL": f"http://127.0.0.1:{free_port()}/api"}
        tell = {"Target": "chat", "Command": "send_message", "Token": "default", "Arguments": ARGUMENTS}
        document = {"RedisURL": redis.url, "Token": TOKEN, "Targets": {"chat": target, "dark": dark}, "Tell": tell}
        (place / "env.json").write_text(json.dumps(document))
        command = ["run", "--config", "env.json"]
        self.brokers: list[Running] = [stack.enter_context(process.started(command, directory=place)) for _ in range(2)]
        for broker in self.brokers:
            broker.wait_for(r"broker\.started", timeout_s=SOON_S)

    @property
    def told(self) -> list[str]:
        return [arrival.arguments["body"] for arrival in self.chat.arrivals]

    def state(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = json.loads(mapping(self.client.command("HGETALL", KEY)).get("state", b"{}"))
        return found

    def until_known(self, name: str, *, is_there: bool = True) -> None:
        until(lambda: name in self.state() and bool(self.state()[name][1]) != is_there, f"{name} is looked at", SOON_S)

    def put_back(self, by_s: float) -> None:
        """Has what is known be older, between two looks."""
        state = {name: [at_s and at_s - by_s for at_s in at] + [jid] for name, (*at, jid) in self.state().items()}
        self.client.command("HSET", KEY, "state", json.dumps(state))

    def check(self) -> list[dict[str, Any]]:
        found = process.run_here(["check", "--tell", "--json", "--config", "env.json"], directory=self.place)
        findings: list[dict[str, Any]] = json.loads(found.stdout)["findings"]
        return findings

    def problems(self) -> set[str]:
        found = process.run_here(["stats", "--problems", "--json", "--config", "env.json"], directory=self.place)
        return {finding["code"] for finding in json.loads(found.stdout)["findings"]}


@pytest.fixture
def night(tmp_path: Path, redis_server: RedisServer) -> Iterator[Night]:
    with ExitStack() as stack:
        client = stack.enter_context(closing(open_client(StoreSettings(redis_server.url))))
        yield Night(tmp_path, redis_server, client, stack)


@pytest.mark.promise("Events", "two processes tell once what is wrong, also after a kill")
def test_two_processes_tell_once(night: Night) -> None:
    events.add_dead_jobs(
        night.client,
        [job(f"j{n}", queue="dark", error_class="NoSuchRoom", error_message=SAID) for n in range(2000)],
    )
    night.until_known("TargetDown dark")
    night.until_known("JobsDied dark NoSuchRoom")
    night.put_back(61)
    until(lambda: len(night.told) >= 2, "both are told", SOON_S)
    night.redis.suspend()
    night.brokers[1].wait_for(r"redis\.lost", timeout_s=SOON_S)
    night.redis.resume()
    night.brokers[0].process.kill()
    before = night.client.command("HGET", KEY, "state")
    until(lambda: night.client.command("HGET", KEY, "state") != before, "the other one looks", SOON_S)
    died, down = sorted(night.told)
    assert died == "restbroker: JobsDied dark NoSuchRoom (2,000). First: restbroker dead summary"
    assert down == "restbroker: TargetDown dark. First: restbroker targets"
    assert night.client.command("ZCARD", "dead") == 2000


@pytest.mark.promise("Events", "news that does not arrive is a row, and no dead job")
def test_what_does_not_arrive_is_a_row_that_is_not_told(night: Night) -> None:
    """Its server refuses it, or a process with other tokens takes it; then it goes, and the row with it."""
    night.status = 400
    (refused,) = night.check()
    assert (refused["code"], refused["level"]) == ("TellFails", "problem")
    assert "TellFails" in night.problems()
    night.status, file = 200, night.place / "env.json"
    right = file.read_text()
    file.write_text(right.replace(TOKEN, "another token of the test"))
    (unanswered,) = night.check()
    assert "(BadToken)" in unanswered["message"]
    file.write_text(right)
    assert [finding["code"] for finding in night.check()] == ["Told"]
    assert "TellFails" not in night.problems()
    night.until_known("TargetDown dark")
    assert not [name for name in night.state() if "TellFails" in name]
    assert night.client.command("EXISTS", "dead", "retry") == 0


@pytest.mark.promise("Events", "what carries the news is told of once it is back")
def test_the_carrier_is_told_of_once_it_is_back(night: Night) -> None:
    night.chat.__exit__()
    night.until_known("TargetDown chat")
    night.until_known("TargetDown dark")
    night.put_back(61)
    with night.chat:
        until(lambda: len(night.told) >= 2, "both are told", SOON_S)
        first, back = sorted(night.told, reverse=True)
        assert first.startswith("restbroker: TargetDown dark. ")
        assert back.startswith("restbroker: TargetDown chat was so for more than a minute, and no longer is. ")
        night.put_back(HOUR_S)
        until(lambda: len(night.told) >= 3, "it is over", SOON_S)
        assert night.told[2].startswith("restbroker: TargetDown chat is over: it was not seen for an hour. ")
