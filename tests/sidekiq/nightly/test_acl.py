"""A Redis user with exactly the rights that docs/sidekiq.md names does everything, and is refused nothing.

The page's two commands are run as they stand there: one for `restbroker run`, one for what a person runs besides.
"""

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from restbroker.console.exits import Exit
from restbroker.job.json_types import Json
from restbroker.job.schedule import CronSchedule
from restbroker.store import order
from restbroker.store.client import items, text
from tests.sidekiq.test_acl import acl_commands
from tests.support import process
from tests.support.redis_server import RedisServer
from tests.support.scripted import QUEUE, Citizen, jid_of, job, ready
from tests.support.shared import FAST_RETRIES, TOKEN
from tests.support.wait import until

OTHER: Final = "other"
ORDERED: Final = "ordered"
YEARLY: Final = {
    "Cron": "@yearly",
    "Command": "check_account",
    "Arguments": {"user": "yearly1", "host": "example.org"},
    "Target": OTHER,
    "Missed": "once",
    "CatchUp": "366d",
    "Overlap": "skip",
}
DONE_BY_A_PERSON: Final = (
    ["check"],
    ["stats"],
    ["dead"],
    ["dead", "list", "--where", "attempts > 0"],
    ["dead", "retry", "--all", "--dry-run"],
    ["retries"],
    ["retries", "delete", "--all", "--yes"],
    ["scheduled"],
    ["explain", jid_of("refused1")],
    ["find", jid_of("refused1")],
    ["queues"],
    ["targets"],
    ["targets", "pause", OTHER, "--for", "1h", "--why", "a test"],
    ["targets", "resume", OTHER],
    ["processes"],
    ["token", "list"],
    ["migrate", "--dry-run"],
    ["enqueue", "--target", OTHER, "--wait", "check_account", "user=waited1", "host=example.org"],
    ["enqueue", "--target", OTHER, "--in", "5m", "check_account", "user=later1", "host=example.org"],
    ["scheduled", "reschedule", "--all", "--in", "10m", "--yes"],
    ["scheduled", "kill", "--all", "--yes"],
    ["dead", "move", "--all", "--to", OTHER, "--yes"],
    ["dead", "retry", "--all", "--yes"],
    ["queues", "pause", OTHER, "--for", "1h", "--why", "a test"],
    ["enqueue", "--target", OTHER, "check_account", "user=cleared1", "host=example.org"],
    ["queues", "peek", OTHER],
    ["keys", "list", "--queue", OTHER],
    ["keys", "show", "lines.org"],
    ["queues", "delete", OTHER, "--where", "user = lines1", "--yes"],
    ["keys", "drop", "lines.org", "--yes"],
    ["keys", "return", OTHER, "--yes"],
    ["periodic"],
    ["periodic", "run", "yearly", "--why", "a test"],
    ["periodic", "pause", "yearly", "--for", "1h", "--why", "a test"],
    ["periodic", "resume", "yearly"],
    ["queues", "clear", OTHER, "--yes"],
    ["queues", "resume", OTHER],
    ["audit"],
    ["events", "tail", "--once"],
)
STOPPED, PUT_OFF, FREE = "stopped", "put-off", "free"
"""Keys of the ordered target."""
DONE_WITH_KEYS: Final = (
    ["keys", "list"],
    ["keys", "show", STOPPED],
    ["keys", "show", PUT_OFF],
    ["explain", jid_of("behind1")],
    ["explain", jid_of("behind2")],
    ["explain", jid_of("refused1")],
    ["queues", "peek", ORDERED],
    ["stats"],
    ["enqueue", "--target", ORDERED, "--order-key", FREE, "--wait", "check_account", "user=free1", "host=example.org"],
    ["keys", "retry", PUT_OFF],
    ["keys", "drop", PUT_OFF, "--yes"],
    ["queues", "delete", ORDERED, "--where", "user = behind1", "--yes"],
    ["keys", "retry", STOPPED],
)
PAGES: Final = (
    *("/", "/targets", "/jobs", "/processes", "/dead", "/retries", "/scheduled", "/in-progress"),
    *(f"/queue?name={ORDERED}", f"/queue?name={OTHER}", "/activity", "/stats", "/metrics"),
    *(f"/job?jid={jid_of(user)}" for user in ("behind1", "behind2", "refused1")),
    *(f"/find?q={jid_of('behind1')}", "/find?q=behind1", "/dead?where=user+%3D+refused1", f"/queue?name={QUEUE}"),
)


@pytest.fixture
def citizen(make_redis: Callable[..., RedisServer], tmp_path: Path) -> Iterator[Citizen]:
    """Three targets with every limit there is, on a Redis whose user has the rights of the page's first command."""
    with ready(tmp_path, make_redis()) as citizen:
        citizen.client.command(*acl_commands()[0])
        other = {"Kind": "ejabberd", "URL": f"http://127.0.0.1:{citizen.server.port}/api", "Queues": [OTHER]}
        citizen.configure(
            RedisURL=user_url(citizen.redis),
            ResponseQueue="answers",
            AtMostOnce=["send_*"],
            RateLimit="1000/s",
            History="1h",
            Backoff=FAST_RETRIES,
            Periodic={"yearly": YEARLY},
            StatsPort=0,
            Targets={
                OTHER: {**other, "RateLimit": "1000/s", "MaxInFlight": 50, "FairBy": ["host"]},
                ORDERED: {**other, "Queues": [ORDERED], "OrderBy": "order_key", "OnDead": "stop"},
            },
        )
        yield citizen


def user_url(redis: RedisServer) -> str:
    return f"redis://restbroker:PASSWORD@127.0.0.1:{redis.port}/0"


def refused(citizen: Citizen) -> list[str]:
    """What Redis refused the user so far."""
    entries = [items(entry) for entry in items(citizen.client.command("ACL", "LOG"))]
    facts = [dict(zip(map(text, entry[::2]), entry[1::2], strict=True)) for entry in entries]
    return [f"{text(fact['reason'])} {text(fact['object'])} ({text(fact['context'])})" for fact in facts]


def put_into_line(citizen: Citizen) -> None:
    """Two jobs, as a process with lines does."""
    for number in (1, 2):
        citizen.client.command("LPUSH", f"restbroker:line:{OTHER}\x1elines.org", job(f"lines{number}"))
    citizen.client.command("SET", f"restbroker:line:{OTHER}", 2)
    citizen.client.command("ZADD", f"restbroker:turn:{OTHER}", 25200, "lines.org")


def push_held(citizen: Citizen) -> None:
    """A key whose job dies, and one whose job fails; a job waits with each."""
    for key, first, second in ((STOPPED, "refused1", "behind1"), (PUT_OFF, "fails1", "behind2")):
        # With Sidekiq's waits the next try is days away; with short ones there are more tries than the test takes.
        jobs = [job(user, queue=ORDERED, order_key=key, retry=100_000, retry_count=20) for user in (first, second)]
        citizen.push(*jobs, queue=ORDERED)


def state(citizen: Citizen, key: str) -> str:
    held = order.read_key(citizen.client, ORDERED, [ORDERED], f"\x1e{key}".encode())
    return "free" if held is None else held.state


def wait_until_held(citizen: Citizen) -> None:
    states = ["stopped", "due"]
    until(lambda: [state(citizen, key) for key in (STOPPED, PUT_OFF)] == states, "both keys are held")


@pytest.mark.promise("Security: who can write to Redis beyond the queues", "with little rights, to reach more")
@pytest.mark.promise("Sidekiq: what is seen, and rights", "the rights for run are enough")
def test_the_rights_that_the_page_names_are_enough_to_run(citizen: Citizen) -> None:
    begun = f"{CronSchedule('@yearly').digest} {int(time.time()) - 3 * 366 * 86_400}"
    citizen.client.command("HSET", "restbroker:periodic", "yearly", begun)
    first = citizen.start()
    citizen.push(job("fails1"), job("refused1"), b"5", job("hangs1", command="send_message"), job("hangs2"))
    citizen.push(job("good1", queue=OTHER), job("good2", args=answered("good2")), queue=OTHER)
    citizen.client.command("ZADD", "schedule", time.time(), job("good3"))
    push_held(citizen)
    citizen.push(job("hangs3", queue=ORDERED, order_key="hangs"), queue=ORDERED)
    wait_until_held(citizen)
    until(
        lambda: {"hangs1", "hangs2", "hangs3", "good1", "good2", "good3"} <= set(citizen.times_sent()), "all are sent"
    )
    first.signal(signal.SIGKILL)
    first.wait()
    second = citizen.start()
    second.wait_for(r"jobs\.recovered", timeout_s=120)
    citizen.script.released.set()
    citizen.script.mended.set()
    citizen.wait_until_idle()
    until(lambda: state(citizen, "hangs") == state(citizen, PUT_OFF) == "free", "all but the stopped key are free")
    second.signal(signal.SIGHUP)
    second.wait_for(r"config\.unchanged")
    name = citizen.identity(second)
    until(lambda: citizen.client.command("HGET", "restbroker:periodic", "yearly push"), "the command is pushed")
    citizen.client.command("LPUSH", f"{name}-signals", "TSTP")
    citizen.wait_until_recorded(name, "quiet", "true")
    assert second.stop() == 0
    assert refused(citizen) == []
    assert not re.search(r"code=\w+Refused", first.output() + second.output())
    assert name not in citizen.listed()


@pytest.mark.promise("Sidekiq: what is seen, and rights", "with a namespace its pattern is enough")
def test_namespace_prefix_is_the_only_pattern_needed(citizen: Citizen) -> None:
    citizen.client.command("ACL", "SETUSER", "restbroker", "resetkeys", "~ns:*")
    citizen.configure(RedisURL=user_url(citizen.redis), RedisNamespace="ns")
    broker = citizen.start()
    citizen.client.command("LPUSH", f"ns:queue:{QUEUE}", job("refused1"), job("good1"))
    until(lambda: citizen.client.command("ZCARD", "ns:dead") == 1, "a job is dead")
    assert broker.stop() == 0
    assert refused(citizen) == []


@pytest.mark.promise("Sidekiq: what is seen, and rights", "the rights for a person are enough")
def test_documented_rights_let_a_person_use_every_command(citizen: Citizen) -> None:
    citizen.client.command(*acl_commands()[1])
    citizen.push(job("refused1"))
    citizen.start()
    citizen.wait_until_in("dead", 1)
    for arguments in DONE_BY_A_PERSON:
        if arguments == ["keys", "list", "--queue", OTHER]:
            put_into_line(citizen)
        done = process.run([*arguments, "--config", str(citizen.config)], directory=citizen.directory)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        assert refused(citizen) == [], arguments


def test_documented_rights_cover_keys_on_pages_and_in_terminal(citizen: Citizen) -> None:
    citizen.client.command(*acl_commands()[1])
    citizen.config.write_text(json.dumps({**json.loads(citizen.config.read_text()), "Backoff": "sidekiq"}))
    push_held(citizen)
    citizen.start()
    wait_until_held(citizen)
    with process.started(["web", "--config", str(citizen.config)], directory=citizen.directory) as web:
        url = web.wait_for(r"listening what=/stats addresses=(\S+)")[1]
        pages = {path: get(f"{url}{path}") for path in PAGES}
        assert refused(citizen) == []
        assert {path: page.status_code for path, page in pages.items()} == dict.fromkeys(PAGES, 200)
        assert "Keys in order" in pages[f"/queue?name={ORDERED}"].text
        assert jid_of("refused1") in pages[f"/job?jid={jid_of('behind1')}"].text
        for arguments in DONE_WITH_KEYS:
            done = process.run([*arguments, "--config", str(citizen.config)], directory=citizen.directory)
            assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
            assert refused(citizen) == [], arguments
        until(lambda: state(citizen, STOPPED) == "stopped", "the job died again")
        steered = get(f"{url}/activity").text
        followed = re.findall(r"/activity/[\w-]+", steered)
        assert get(f"{url}{followed[0]}").status_code == 200
    waits = ["enqueue", "--target", ORDERED, "--order-key", STOPPED, "--wait", "--timeout", "1s"]
    late = process.run([*waits, "status", "--config", str(citizen.config)], directory=citizen.directory)
    assert late.returncode == Exit.WAITING, late.stderr
    assert f"behind {jid_of('refused1')}" in late.stderr
    citizen.restbroker("keys", "skip", STOPPED, "--yes")
    until(lambda: not citizen.client.command("EXISTS", f"restbroker:held:{ORDERED}"), "no key is held")
    assert refused(citizen) == []


def get(url: str) -> httpx.Response:
    return httpx.get(url, headers={"Accept": "text/html"}, trust_env=False, timeout=60)


def answered(user: str) -> list[Json]:
    return ["check_account", {"user": user, "host": "example.org"}, TOKEN, "an id"]
