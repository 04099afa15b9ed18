"""Each row of the table of what is wrong now, made in a real set-up: it is told everywhere, and goes with its cause.

The set-up is a Redis, an ejabberd, `restbroker run` and `restbroker web`. A row is looked for in `stats`,
`stats --problems`, `check`, on the overview and in /metrics; promtool gives what /metrics said to the alert rules.
Where the rule is to wait a minute, a moment in Redis is put back.
"""

import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from hashlib import sha1
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from restbroker.console import codes
from restbroker.operate import problems
from restbroker.store import queues, server
from restbroker.store.client import Client, StoreSettings, mapping, open_client
from tests.support import process
from tests.support.answering import AnsweringServer
from tests.support.ejabberd import ADMIN, Ejabberd
from tests.support.ports import free_port
from tests.support.process import Running, freeze
from tests.support.promtool import RULES, assert_alerts
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.shared import TOKEN
from tests.support.wait import until

DEAD_LIMIT: Final = 5
AGO_S: Final = 120
SOON_S: Final = 60.0
STARTED_BEFORE: Final = f"""
import runpy, time
real = time.time
time.time = lambda: real() - {AGO_S}
runpy.run_module("restbroker", run_name="__main__", alter_sys=True)
"""
Metrics: TypeAlias = dict[tuple[str, str], float]
"""Values by name and labels, as in PromQL."""


@attrs.frozen
class Look:
    """What is seen at one moment. `wrong`: the findings of `stats --problems` by code, `first`: how `stats` begins."""

    wrong: dict[str, dict[str, Any]]
    exit_code: int
    first: str
    checked: frozenset[str]
    page: str
    metrics: Metrics

    @property
    def is_well(self) -> bool:
        said = {name for name, _ in self.metrics}
        return not self.wrong and "restbroker_redis_up" in said and "restbroker_problems" not in said

    def tells(self, code: str) -> bool:
        return code in self.wrong and ("restbroker_problems", f'code="{code}"') in self.metrics


@attrs.define(eq=False)
class Day:
    """The set-up. `broker` and `web` have env.json; what a row needs besides is started beside them."""

    directory: Path
    redis: RedisServer
    ejabberd: Ejabberd
    client: Client
    stack: ExitStack
    broker: Running = attrs.field(init=False)
    web: Running = attrs.field(init=False)
    url: str = attrs.field(init=False)

    def begin(self) -> None:
        self.configure()
        self.broker = self.stack.enter_context(self.run())
        web = process.started(["web", *self.config()], directory=self.directory / "web")
        self.web = self.stack.enter_context(web)
        self.url = self.web.wait_for(r"listening what=/stats addresses=(\S+)")[1]

    def config(self, file: str = "env.json") -> list[str]:
        return ["--config", str(self.directory / file)]

    def configure(self, file: str = "env.json", **keys: object) -> None:
        """Writes a file; `keys` are added to it."""
        auth = {"Basic": {"User": self.ejabberd.admin, "Pass": self.ejabberd.password}}
        target = {"Kind": "ejabberd", "URL": self.ejabberd.url, "Domain": "example.org", "Auth": auth}
        targets = {
            "ejabberd": {**target, "Queues": ["rest"]},
            "ordered": {**target, "Queues": ["ordered"], "OrderBy": ["user"], "OnDead": "stop"},
            "slow": {**target, "Queues": ["slow"], "RateLimit": "1/min"},
        }
        document = {
            "RedisURL": self.redis.url,
            "Token": TOKEN,
            "DeadLimit": DEAD_LIMIT,
            "StatsPort": 0,
            "Targets": targets,
        }
        (self.directory / file).write_text(json.dumps({**document, **keys}))

    @contextmanager
    def run(self, file: str = "env.json", command: Sequence[str] = process.RESTBROKER) -> Iterator[Running]:
        """Runs one more broker until the end of the block."""
        with process.started(["run", *self.config(file)], directory=self.directory, command=command) as running:
            running.wait_for(r"broker\.started")
            yield running
            assert running.process.poll() is not None or running.stop() == 0

    def shell(self, *words: str, on_terminal: bool = False) -> subprocess.CompletedProcess[str]:
        return process.run_here([*words, *self.config()], directory=self.directory, on_terminal=on_terminal)

    def act(self, *words: str) -> None:
        done = self.shell(*words)
        assert done.returncode == 0, done.stderr

    def push(self, queue: str, command: str = "check_account", *, ago_s: float = 0.0, **arguments: object) -> bytes:
        """Pushes a job that has been waiting for `ago_s` seconds."""
        at_s, given = time.time() - ago_s, {"user": "ann", "host": "example.org", **arguments}
        fields = {"class": "Add", "jid": os.urandom(12).hex(), "queue": queue, "args": [command, given, TOKEN]}
        job = json.dumps({**fields, "retry": True, "created_at": at_s, "enqueued_at": at_s}).encode()
        queues.push(self.client, queue, [job])
        return job

    def clear(self, queue: str) -> None:
        self.client.commands([("DEL", f"queue:{queue}"), ("SREM", "queues", queue)])

    def look(self) -> Look:
        said = self.shell("stats", "--problems", "--json")
        wrong = {finding["code"]: finding for finding in json.loads(said.stdout)["findings"]}
        first = self.shell("stats", on_terminal=True).stdout.partition("\n\n")[0]
        found = json.loads(self.shell("check", "--json").stdout)["findings"]
        checked = frozenset(finding["code"] for finding in found if finding["level"] in ("warning", "problem"))
        # The page first: it has the look at Redis renewed that /metrics shows, too.
        page = httpx.get(f"{self.url}/", headers={"Accept": "text/html"}, trust_env=False).text
        families = text_string_to_metric_families(httpx.get(f"{self.url}/metrics", trust_env=False).text)
        metrics = {
            (sample.name, ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(sample.labels.items()))): (
                sample.value
            )
            for family in families
            for sample in family.samples
        }
        return Look(wrong, said.returncode, first, checked, page, metrics)

    def look_until(self, is_so: Callable[[Look], bool]) -> Look:
        """The last look, also if it never becomes so: then what a row needs is put right, and the test fails."""
        deadline_s = time.monotonic() + SOON_S
        while not is_so(seen := self.look()) and time.monotonic() < deadline_s:
            pass
        return seen


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    directory = tmp_path_factory.mktemp("day")
    with ExitStack() as stack:
        redis = RedisServer(redis_binary(), directory / "redis").start()
        stack.callback(redis.close)
        ejabberd = Ejabberd(directory / "ejabberd").start()
        stack.callback(ejabberd.kill)
        client = stack.enter_context(closing(open_client(StoreSettings(redis.url))))
        day = Day(directory, redis, ejabberd, client, stack)
        day.begin()
        yield day


@contextmanager
def nothing_runs(day: Day) -> Iterator[None]:
    assert day.broker.stop() == 0
    yield
    day.broker = day.stack.enter_context(day.run())


@contextmanager
def a_typo(day: Day) -> Iterator[None]:
    """One process notes the oldest jobs each minute: so it was noted two minutes ago."""
    job = day.push("restt", ago_s=AGO_S)
    mark = sha1(job[:256] + job[-256:], usedforsecurity=False).hexdigest()
    day.client.command("HSET", day.client.keys.oldest_jobs, "restt", f"{mark} {int(time.time()) - AGO_S}")
    yield
    day.clear("restt")


@contextmanager
def a_ruby_worker(day: Day) -> Iterator[None]:
    """Its record, as Sidekiq writes it."""
    info = {"hostname": "ruby", "pid": 1, "queues": ["default", "rest"], "concurrency": 5, "tag": "", "labels": []}
    record = ("info", json.dumps(info), "beat", time.time(), "busy", 0, "quiet", "false", "rss", 1, "rtt_us", 1)
    day.client.commands([("SADD", "processes", "ruby:1:abc"), ("HSET", "ruby:1:abc", *record)])
    yield
    day.client.commands([("SREM", "processes", "ruby:1:abc"), ("DEL", "ruby:1:abc")])


@contextmanager
def another_token(day: Day) -> Iterator[None]:
    day.configure("other.json", Token="quite another token")
    with day.run("other.json"):
        yield


@contextmanager
def a_command_of_another_version(day: Day) -> Iterator[None]:
    room, member = {"service": "conference.example.org"}, {"affiliation": "member"}
    forms = {"name": "ops", **room, "jid": "ann@example.org"}, {"room": "ops", **room, "user": "ann", "host": "x.org"}
    wrong = forms["23.01" in day.shell("targets", "--json").stdout]
    command = {"Cron": "@yearly", "Command": "set_room_affiliation", "Arguments": {**wrong, **member}}
    day.configure("other.json", Periodic={"speak": {**command, "Target": "ejabberd"}})
    with day.run("other.json"):
        yield


@contextmanager
def a_server_that_is_away(day: Day) -> Iterator[None]:
    """Of a source, in a process of another file."""
    options = {"Name": "events.example.org", "Address": f"127.0.0.1:{free_port()}", "Hosts": ["example.org"]}
    source = {
        "Kind": "ejabberd-component",
        "Queue": "events",
        "Class": "Event",
        "Options": {**options, "Pass": "p" * 16},
    }
    day.configure("other.json", Events={"Sources": {"copies": source}})
    with day.run("other.json"):
        yield


@contextmanager
def a_source_that_nobody_reads(day: Day) -> Iterator[None]:
    """It is in the file since a minute at least, and the process has not been told to read the file again."""
    with day.run(command=(sys.executable, "-c", STARTED_BEFORE)):
        sources = {"hook": {"Kind": "webhook", "Path": "/hook", "Queue": "events", "Class": "Event"}}
        day.configure(Events={"Listen": f"127.0.0.1:{free_port()}", "Sources": sources})
        _reload(day.web)
        yield
        # The cure: a process that reads it. It is taken away together with the source.
        with day.run():
            until(lambda: not day.look().wrong, "a process takes its events")
            day.configure()
            _reload(day.web)


def _reload(running: Running) -> None:
    times = running.output().count("config.reloaded")
    running.signal(signal.SIGHUP)
    running.wait_for(r"config\.reloaded", times=times + 1)


@contextmanager
def a_stopped_key(day: Day) -> Iterator[None]:
    day.push("ordered", "register")  # without a password
    yield
    day.act("keys", "skip", "ann", "--target", "ordered", "--yes")
    day.client.command("DEL", "dead")


@contextmanager
def memory(day: Day, share: float) -> Iterator[None]:
    """Of so much more than Redis uses now."""
    used = int(_info(day, "used_memory"))
    day.client.command("CONFIG", "SET", "maxmemory", int(used / share))
    yield
    day.client.command("CONFIG", "SET", "maxmemory", 0)


def _info(day: Day, name: str) -> str:
    found = re.search(rf"^{name}:(.*?)\r?$", day.redis.command("INFO"), re.MULTILINE)
    assert found, name
    return found[1]


@contextmanager
def a_failed_save(day: Day) -> Iterator[None]:
    """A folder is in the way of the snapshot."""

    def save(result: str) -> None:
        day.client.command("BGSAVE")
        until(lambda: _info(day, "rdb_bgsave_in_progress") == "0", "the snapshot is ended")
        assert _info(day, "rdb_last_bgsave_status") == result

    obstacle = day.redis.directory / "dump.rdb"
    obstacle.mkdir()
    (obstacle / "file").touch()
    save("err")
    yield
    shutil.rmtree(obstacle)
    save("ok")


@contextmanager
def setting(day: Day, name: str, value: int) -> Iterator[None]:
    day.client.command("CONFIG", "SET", name, value)
    yield
    day.client.command("CONFIG", "SET", name, 0)


@contextmanager
def a_replica(day: Day) -> Iterator[None]:
    day.client.command("REPLICAOF", "127.0.0.1", free_port())
    yield
    day.client.command("REPLICAOF", "NO", "ONE")


@contextmanager
def a_killed_server(day: Day) -> Iterator[None]:
    day.ejabberd.kill()
    day.push("rest")
    yield
    day.ejabberd.start()


@contextmanager
def another_password(day: Day) -> Iterator[None]:
    def change(password: str) -> None:
        status, said = day.ejabberd.call("change_password", user=ADMIN, host=day.ejabberd.hosts[0], newpass=password)
        assert status == 200, said

    change("another password")
    day.push("rest")
    yield
    change(day.ejabberd.password)


@contextmanager
def a_refused_command(day: Day) -> Iterator[None]:
    """The key of the rate is of another type: the jobs of its target cannot be fetched."""
    rate = day.client.keys.rate("slow")
    day.client.commands([("DEL", rate), ("HSET", rate, "a", "b")])
    day.push("slow")
    yield
    day.client.command("DEL", rate)


@contextmanager
def many_dead_jobs(day: Day) -> Iterator[None]:
    dead = [json.dumps({"class": "Add", "args": ["status", {}, TOKEN], "jid": f"{n:024}"}) for n in range(DEAD_LIMIT)]
    day.client.command("ZADD", "dead", *(part for job in dead for part in (time.time(), job)))
    day.push("rest")
    yield
    day.client.command("DEL", "dead")


@contextmanager
def a_frozen_process(day: Day) -> Iterator[None]:
    """Its last heartbeat is put back: it would be told after 15 s."""
    with day.run() as running:
        mark = f":{running.process.pid}:"
        identities = until(
            lambda: [name for name in mapping(day.client.command("HGETALL", "restbroker:beats")) if mark in name],
            "it beats",
        )
        freeze(running.process.pid)
        for identity in identities:
            day.client.command("HSET", day.client.keys.info(identity), "beat_at", int(time.time()) - AGO_S)
        yield
        running.signal(signal.SIGCONT)


@contextmanager
def a_killed_process(day: Day) -> Iterator[None]:
    """What it had cannot return, as long as the key of its queue is no list: so it stays for longer than a moment."""
    came, left = threading.Event(), threading.Event()

    def hang(_arrival: object) -> int:
        came.set()
        left.wait()
        return 200

    with AnsweringServer(act=hang) as far:
        target = {"Kind": "ejabberd", "URL": f"http://127.0.0.1:{far.port}/api", "Queues": ["far"]}
        day.configure("other.json", Targets={"far": target})
        with day.run("other.json") as running:
            day.push("far")
            assert came.wait(60)
            day.client.command("SET", "queue:far", "no list")
            running.process.kill()
            running.wait()
            left.set()
    yield
    day.client.command("DEL", "queue:far")
    until(lambda: day.client.command("LLEN", "queue:far") == 1, "its job is back")
    day.clear("far")


@contextmanager
def a_key_of_another_type(day: Day) -> Iterator[None]:
    day.client.command("SET", "queue:slow", "no list")
    yield
    day.client.command("DEL", "queue:slow")


@contextmanager
def paused(day: Day, what: str, name: str) -> Iterator[None]:
    day.act(what, "pause", name, "--why", "it moves")
    yield
    day.act(what, "resume", name)


@contextmanager
def more_than_is_let_through(day: Day) -> Iterator[None]:
    for _ in range(5):
        day.push("slow", ago_s=AGO_S)
    yield
    day.clear("slow")


Make: TypeAlias = Callable[[Day], AbstractContextManager[None]]
CASES: Final[Sequence[tuple[str, Make, str]]] = (
    ("NotRunning", nothing_runs, "No restbroker runs on this Redis"),
    ("QueueUnserved", a_typo, "Queue restt: 1 job waits, and no process takes them"),
    ("QueueTaken", a_ruby_worker, "Queue rest: Sidekiq's ruby:1:abc takes jobs from it, too"),
    ("TokensMixed", another_token, "serve it with different tokens"),
    ("CommandUnfit", a_command_of_another_version, "Periodic.speak: set_room_affiliation has no argument "),
    ("SourceUnread", a_server_that_is_away, "Source copies: "),
    ("SourceUnread", a_source_that_nobody_reads, "Source hook: no process takes its events"),
    ("OrderStopped", a_stopped_key, "ordered has stopped keys (1 key"),
    ("NearlyFull", lambda day: memory(day, 0.97), "of maxmemory ("),
    ("Full", lambda day: memory(day, 1.5), "Redis is full: it uses "),
    ("DiskFailed", a_failed_save, "Redis could not write to its disk."),
    ("FewReplicas", lambda day: setting(day, "min-replicas-to-write", 1), "Redis has fewer replicas than its setting"),
    ("Replica", a_replica, "This Redis is a replica."),
    ("TargetDown", a_killed_server, "ejabberd is down"),
    ("TargetDenied", another_password, "ejabberd refuses the login"),
    ("Refused", a_refused_command, "slow: Redis refuses to fetch or to settle jobs"),
    ("DeadSetFull", many_dead_jobs, "ejabberd: no job is taken: the dead set is full (DeadLimit)"),
    ("ProcessSilent", a_frozen_process, " has sent no heartbeat for 2 min"),
    ("ProcessGone", a_killed_process, " is gone; the 1 job it had in progress return to their queues"),
    ("WrongType", a_key_of_another_type, "Queue slow: its key is not a list, so no job is taken from it"),
    ("QueuePaused", lambda day: paused(day, "queues", "rest"), "Queue rest is paused by "),
    ("TargetPaused", lambda day: paused(day, "targets", "ejabberd"), "ejabberd is paused by "),
    ("QueueWaits", more_than_is_let_through, "jobs has been waiting for 2 min"),
)
"""The code of each row, what makes it, and some of its words."""


@pytest.mark.slow  # two servers and three processes, and each row is waited for twice
@pytest.mark.parametrize(("code", "make", "words"), CASES, ids=[f"{code}-{n}" for n, (code, *_) in enumerate(CASES)])
def test_each_row_is_told_everywhere_and_goes(day: Day, tmp_path: Path, code: str, make: Make, words: str) -> None:
    with make(day):
        seen = day.look_until(lambda look: look.tells(code))
    gone = day.look_until(lambda look: look.is_well)
    assert words in " ".join(seen.first.split())
    assert words in html.unescape(seen.page)
    assert (code in seen.checked) == (code != "NotRunning"), "a check is made before a process is started, too"
    assert (seen.exit_code != 0) == any(finding["level"] == "problem" for finding in seen.wrong.values())
    assert gone.is_well, gone.wrong
    assert gone.first.startswith("Nothing needs you")
    assert "Nothing needs you" in gone.page
    assert code not in gone.checked
    assert gone.exit_code == 0
    rule = "RestbrokerPausedForLong" if code.endswith("Paused") else f"RestbrokerProblem/{code}"
    _assert_alert(tmp_path, rule, seen.metrics, gone.metrics)


def _assert_alert(folder: Path, rule: str, standing: Metrics, gone: Metrics) -> None:
    """The alert fires when it was so for seven hours, in which nobody ended a pause, and no more an hour later."""
    text, series = RULES.read_text("utf-8"), {}
    for name, labels in standing.keys() | gone.keys():
        if name in text:
            was, then = standing.get((name, labels)), gone.get((name, labels))
            values = ["_x420" if was is None else f"{was:f}+0x419", "stale" if then is None else f"{then:f}+0x60"]
            series[f"{name}{{{labels}}}"] = " ".join(values)
    alert, _, code = rule.partition("/")
    assert_alerts(folder, series, {"419m": {alert}, "8h": set()}, f',alertname="{alert}",code=~"{code}"')


def test_each_code_of_the_table_has_a_case() -> None:
    known = {row["code"] for row in codes.every()}
    made = {word for module in (problems, server) for word in re.findall(r'"([A-Z]\w+)"', _source(module))}
    # Why a target that is not told to be down is tripped.
    assert {code for code, *_ in CASES} == made & known - {"Starting"}


def _source(module: Any) -> str:
    return Path(module.__file__).read_text("utf-8")
