"""An hour of the product in some seconds: what it leaves in Redis, shows at /metrics, prints as JSON, answers and logs.

`python -m tests.golden` writes and compares it. A real process on a real Redis meets a server that does as each job
says, one that is away, recorded answers of Openfire, events, a pause, reloads and its end; then two of a group meet a
death of one of them and of Redis. Of all this the names, types and shapes are kept, and no value.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import attrs

from restbroker.job import arguments, signing
from restbroker.job.json_types import Json
from restbroker.store import queues
from restbroker.store.client import Client, StoreSettings, items, mapping, names, open_client, raw
from tests.golden import command_line, shapes
from tests.support.answering import AnsweringServer, Arrival
from tests.support.openfire_chat.server import Openfire
from tests.support.ports import free_port
from tests.support.process import Running, started
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.scripted import Script
from tests.support.wait import until

_TOKEN: Final = "a token of the hour"
_SECRET: Final = "a-long-enough-secret-of-32-letters"
_PATH: Final = "/events"
_EVENT: Final = {"kind": "message", "from": "ann@example.org/a", "to": "bot@example.org", "body": "hi", "id": "1"}


@attrs.frozen
class Hour:
    """A broker at work with all that is beside it."""

    folder: Path
    redis: RedisServer
    client: Client
    server: AnsweringServer
    away: AnsweringServer
    openfire: Openfire
    script: Script
    broker: Running
    stats: str

    def push(self, jid: str, args: Json, queue: str = "rest", **more: Json) -> None:
        """A job, as a producer pushes it."""
        fields: dict[str, Json] = {"class": "Add", "jid": jid, "queue": queue, "args": args, "retry": True}
        queues.push(self.client, queue, [json.dumps({**fields, "created_at": 1.5, **more}).encode()])

    def size(self, key: str) -> int:
        """How many entries a list, set, sorted set or stream has."""
        count = {"list": "LLEN", "set": "SCARD", "zset": "ZCARD", "stream": "XLEN", "hash": "HLEN"}
        kind = raw(self.client.command("TYPE", key)).decode()
        return 0 if kind == "none" else int(str(self.client.command(count[kind], key)))

    def wait(self, key: str, size: int) -> None:
        """Returns when it has so many."""
        until(lambda: self.size(key) == size, f"{key} has {size}")

    def typed(self, *words: str) -> str:
        """What a command prints; it must not fail."""
        with contextlib.chdir(self.folder):
            code, output = command_line.typed(words)
        assert code == "0", (words, code, output)
        return output


def hour() -> str:
    """All of it."""
    with TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        one = stack.enter_context(_begun(Path(name)))
        answers = _worked(one)
        lines = [*_keys(one), "", *_metrics(one), "", *_answered(one, answers), "", *_printed(one)]
        _ended(one)
        group, more = _grouped(one, lines)
        return "\n".join([*lines, "", *more, "", *_logged(one.broker, group)]) + "\n"


@contextlib.contextmanager
def _begun(folder: Path) -> Iterator[Hour]:
    script = Script()
    with contextlib.ExitStack() as stack:
        (folder / "redis").mkdir()
        redis = RedisServer(redis_binary(), folder / "redis", {"appendonly": "yes"}).start()
        stack.callback(redis.close)
        server = stack.enter_context(AnsweringServer(act=script, body=_body))
        stack.callback(script.released.set)
        openfire = stack.enter_context(Openfire())
        openfire.state.register("ann", "bob", password="a password")
        openfire.heartbeat_s = 0.2
        client = stack.enter_context(contextlib.closing(open_client(StoreSettings(redis.url))))
        away, port = AnsweringServer(port=free_port()), free_port()
        _configure(folder, redis.url, (server.port, away.port, port), openfire)
        broker = stack.enter_context(_running(folder))
        for found in ("broker.started", "target.found", "redis.rewrite", "source.opened", "target.down"):
            broker.wait_for(f'"{found}"')
        until(lambda: client.command("EXPIRE", "process_cleanup", 3600), "it has looked for records of the dead")
        yield Hour(folder, redis, client, server, away, openfire, script, broker, f"127.0.0.1:{port}")


def _running(folder: Path, *words: str) -> contextlib.AbstractContextManager[Running]:
    command = (sys.executable, "-m", "tests.support.quick_record")
    said = ["run", "--config", str(folder / "env.json"), "--json-logs", "--log-level", "debug", *words]
    return started(said, directory=folder, command=command)


def _configure(folder: Path, redis: str, ports: tuple[int, int, int], openfire: Openfire) -> None:
    server, away, stats = ports
    (folder / "passwords").write_text("ann:a password\nbob:a password\n")
    (folder / "passwords").chmod(0o600)
    (folder / "users.csv").write_text("user\ndone1\ndone2\n")
    (folder / "some.ndjson").write_text('{"user": "done"}\n{"no": "user"}\n')
    source: dict[str, Json] = {
        "Kind": "prosody-rest",
        "Path": _PATH,
        "Queue": "events",
        "Class": "Event",
        "DropDuplicates": "1h",
    }
    talk: dict[str, Json] = {
        "Kind": "openfire-sse",
        "Queue": "talk",
        "Class": "Event",
        "Options": {"Target": "chat", "Users": ["ann", "bob"], "PasswordsFile": str(folder / "passwords")},
    }
    document: dict[str, Json] = {
        "RedisURL": redis, "RestURL": f"http://127.0.0.1:{server}/api", "RestUser": "admin@example.org",
        "RestPass": "pass-of-admin", "JabberDomain": "example.org", "RestQueue": "rest", "Token": _TOKEN,
        "ResponseQueue": "replies", "ResponseDetails": True, "RateLimit": "1000/s", "MaxInFlight": 50, "History": "1h", "HistoryArguments": ["user"],
        "RequestTimeout": "10m", "Concurrency": 4, "AtMostOnce": ["send_stanza"], "Stats": True, "StatsPort": stats,
        "Tokens": {"app": {"Secret": _SECRET, "Signed": True, "Allow": ["check_*"]}},
        "Targets": {
            "rosters": {
                "Kind": "prosody-roster",
                "URL": "http://127.0.0.1:1",
                "Queues": ["rosters"],
                "Options": {"WritesOnly": True},
            },
            "away": {"Kind": "ejabberd", "URL": f"http://127.0.0.1:{away}/api", "Queues": ["away"]},
            "chat": {
                "Kind": "openfire-chat",
                "URL": openfire.url,
                "Domain": "example.org",
                "Auth": {"Basic": {"User": "admin", "Pass": "secret"}},
                "Queues": ["chat"],
            },
        },
        "Events": {"Listen": f"127.0.0.1:{free_port()}", "Sources": {"src": source, "talk": talk}},
    }  # fmt: skip
    (folder / "env.json").write_text(json.dumps(document))


def _body(arrival: Arrival) -> bytes:
    return (
        b'{"code":10,"message":"no"}' if str(arrival.arguments.get("user")).startswith(("refused", "fails")) else b"0"
    )


def _args(command: str, user: str, reply: str | None = None, **more: Json) -> list[Json]:
    return [command, {"user": user, "host": "example.org", **more}, _TOKEN, *([reply] if reply else [])]


def _worked(one: Hour) -> list[tuple[str, str]]:
    """The hour itself, until one job hangs, one waits in each set, and a queue is paused. What was answered to whom."""
    one.push("a" * 24, _args("check_account", "done", "reply-1"), reply_to="restbroker:reply:one")
    one.push("b" * 24, _args("check_account", "refused", "reply-2"), reply_to="restbroker:reply:two")
    one.push("3" * 24, _args("check_account", "refused"))
    one.push("c" * 24, _args("check_account", "fails"))
    one.push("4" * 24, _args("check_account", "fails"))
    one.wait("retry", 2)
    for waits in items(one.client.command("ZRANGE", "retry", 0, -1)):  # for longer than this hour
        one.client.command("ZADD", "retry", "XX", 4_000_000_000, raw(waits))
    one.push("d" * 24, _args("kick_user", "fails", "reply-3"), retry=0)
    one.push("e" * 24, ["check_account", {"user": "a"}, "a wrong token"])
    one.push("f" * 24, _args("our_own", "done"))
    one.push("0" * 24, {"no": "args"})
    one.push(
        "1" * 24, ["set_roster", {"user": "ann", "contacts": {"bob@example.org": {"name": "Bob"}}}, _TOKEN], "rosters"
    )
    queues.push(one.client, "rest", [b"{x"])
    one.push("5" * 24, _args("check_account", "waits"), "away")
    one.push("6" * 24, _signed("6" * 24, "check_account", {"user": "signed", "host": "example.org"}))
    one.broker.wait_for(f'"jid": ?"{"6" * 24}"')
    _talked(one)
    one.typed("queues", "pause", "rosters", "--for", "1s")
    one.typed("enqueue", "check_account", "--bulk", "users.csv", "host=example.org", "--wait")
    due = {"class": "Add", "queue": "rest", "jid": "7" * 24, "args": _args("check_account", "due")}
    one.client.command("ZADD", "schedule", 1, json.dumps(due))
    one.wait("dead", 6)
    one.wait("restbroker:rosters", 1)
    one.client.command("ZADD", "schedule", 4_000_000_000, b'{"class":"Add","queue":"rest","jid":"later","args":[]}')
    answers = [_posted(one, json.dumps({**_EVENT, "id": number})) for number in ("1", "1", "2")]
    answers += [_posted(one, "{"), _posted(one, "{}", "/nowhere")]
    one.typed("queues", "pause", "events", "--for", "1h", "--why", "a reason")
    one.typed("targets", "pause", "rosters", "--why", "a reason")
    one.push("2" * 24, _args("send_stanza", "hangs", stanza="<a/>", **{"from": "a", "to": "b"}))
    until(lambda: any(arrival.command == "send_stanza" for arrival in one.server.arrivals), "it hangs")
    identity = next(iter(names(one.client.command("SMEMBERS", "processes"))))
    one.wait(f"{identity}:work", 1)
    until(lambda: "restbroker_target_held_back{" in _scraped(one), "it is known that a target is paused")
    until(lambda: _is_written(one.client), "its process has written that, and heartbeats")
    one.broker.signal(signal.SIGHUP)
    one.broker.wait_for(r'"config\.unchanged"')
    for event in ("pause.ended", "jobs.promoted"):
        one.broker.wait_for(f'"{event}"')
    _summed(one)
    return answers


def _summed(one: Hour) -> None:
    """Failures and copies, until the log has summed some of each. It sums every ten seconds, and has lines of their own
    for the first of each ten: those that fall on both sides are pushed again.
    """
    while not all(f'"{event}"' in one.broker.output() for event in ("jobs.failed", "warnings")):
        summaries = one.broker.output().count('"summary"')
        for _ in range(5):
            one.push("6" * 24, _signed("6" * 24, "check_account", {"user": "signed", "host": "example.org"}))
            one.push("f1" * 12, ["check_account", {"user": "a"}, "a wrong token"], dead=False)
        one.broker.wait_for('"summary"', times=summaries + 1)


def _signed(jid: str, command: str, values: dict[str, Json]) -> list[Json]:
    submission = arguments.read([command, values, ""])
    assert isinstance(submission, arguments.Submission)
    return [command, values, signing.sign(_SECRET, "app", int(time.time()), jid, submission, "rest")]


def _talked(one: Hour) -> None:
    """Bob writes to Ann, who gets an event of it."""
    until(lambda: {"ann", "bob"} <= one.openfire.state.readers.keys(), "the events of both are read")
    one.push("8" * 24, ["post_message", {"from": "bob", "to": "ann", "body": "hi"}, _TOKEN], "chat")
    # That each of them is there, and what Bob says.
    one.wait("queue:talk", 3)


def _is_written(client: Client) -> bool:
    (key,) = names(client.command("KEYS", "restbroker:info:*:rosters"))
    snapshot = mapping(client.command("HGETALL", key)).get("snapshot", b"").replace(b" ", b"")
    states = mapping(client.command("HGETALL", "restbroker:sources")).values()
    beats = not any(b'"heartbeat_s":0.0' in state and b'"user":""' not in state for state in states)
    return b'"limited":"' in snapshot and beats and any(b'"malformed":1' in state for state in states)


def _posted(one: Hour, body: str, path: str = _PATH) -> tuple[str, str]:
    listen = json.loads((one.folder / "env.json").read_text())["Events"]["Listen"]
    return f"POST {path} {shapes.of(shapes.parsed(body))}", _got(listen, "POST", path, body)


def _got(address: str, method: str, path: str, body: str | None = None) -> str:
    headers = {"Content-Type": "application/json"} if body else {"Accept": "application/json"}
    with contextlib.closing(http.client.HTTPConnection(address, timeout=60)) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return f"{answer.status} {answer.headers.get_content_type()} {shapes.of(shapes.parsed(answer.read().decode()))}"


def _keys(one: Hour) -> Iterator[str]:
    yield "== keys in Redis, their types and what is in them"
    found: dict[tuple[str, str], list[Any]] = {}
    for key in names(one.client.command("KEYS", "*")):
        kind = raw(one.client.command("TYPE", key)).decode()
        if ":probe:" in key or kind == "none":  # there for a second now and then, or expired since
            continue
        expires = " (expires)" if int(str(one.client.command("PTTL", key))) >= 0 else ""
        found.setdefault((shapes.named(key), f"{kind}{expires}"), []).extend(_held(one.client, kind, key))
    for key, kind in sorted(found):
        shape = shapes.of(*found[key, kind])
        # What several minutes each have may be split in any way.
        yield from shapes.lines(f"{key}  {kind}: {shape.replace('?:', ':') if 'MINUTE' in key else shape}")


def _held(client: Client, kind: str, key: str) -> list[Any]:
    """What is in a key: each value as JSON, where it is some."""
    match kind:
        case "string":
            return [_value(client.command("GET", key))]
        case "list":
            return [_value(member) for member in items(client.command("LRANGE", key, 0, -1))]
        case "set":
            return [dict.fromkeys(names(client.command("SMEMBERS", key)), "")]
        case "zset":
            return [_value(member) for member in items(client.command("ZRANGE", key, 0, -1))]
        case "hash":
            found = {name: _value(value) for name, value in mapping(client.command("HGETALL", key)).items()}
            are_alike = key.endswith((":work", ":workers", ":sources", ":minutes", ":oldest"))
            return [{"EACH": value} for value in found.values()] if are_alike else [found]
        case _:
            return [_pairs(items(items(entry)[1])) for entry in items(client.command("XRANGE", key, "-", "+"))]


def _value(value: Any) -> Any:
    return shapes.parsed(raw(value).decode("utf-8", "replace"))


def _pairs(flat: Sequence[Any]) -> dict[str, Any]:
    return {raw(name).decode(): _value(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _scraped(one: Hour) -> str:
    with contextlib.closing(http.client.HTTPConnection(one.stats, timeout=60)) as connection:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()


def _metrics(one: Hour) -> Iterator[str]:
    yield "== /metrics: types and labels"
    metrics = _scraped(one)
    labels: dict[str, set[str]] = {}
    for name, inside in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", metrics, re.MULTILINE):
        labels.setdefault(name, set()).update(re.findall(r'(\w+)="', inside))
    for name, kind in sorted(re.findall(r"^# TYPE (\w+) (\w+)$", metrics, re.MULTILINE)):
        if name.startswith("restbroker_"):
            ends = {
                end: labels[f"{name}{end}"] for end in ("", "_bucket", "_count", "_sum") if f"{name}{end}" in labels
            }
            shown = "  ".join(f"{end}{{{', '.join(sorted(ends[end]))}}}" for end in ends)
            yield f"  {name}  {kind}  {shown or '(no sample)'}"


_COMMANDS: Final = (
    *("stats", "queues list", "queues peek rest", "targets list", "check --target ejabberd", "processes list", "dead", "retries"),
    *("scheduled", f"dead show {'b' * 24}", f"explain {'b' * 24}", f"explain {'2' * 24}", "audit", "events sources", "token list", "events tail --once"),
    *("roster list", "roster show ann", "commands register", "config show", "check"),
    *(f"dead retry {'e' * 24} --dry-run", f"retries kill {'c' * 24} --dry-run", "queues pause rest --dry-run"),
    *("targets resume rosters", "queues resume events", "scheduled delete later --yes", "queues clear events --dry-run --yes"),
    "enqueue check_account --bulk users.csv host=example.org --dry-run",
    "enqueue check_account --bulk users.csv host=example.org --queue rest --wait",
    "enqueue check_account --bulk some.ndjson host=example.org --rejects rejects.ndjson",
    "enqueue check_account user=done host=example.org --wait --timeout 60s",
    "enqueue check_account user=refused host=example.org --wait --timeout 60s",
)  # fmt: skip
"""What has `--json`; the ends of those that act are looked at without acting, where they can."""


def _printed(one: Hour) -> Iterator[str]:
    yield "== what commands print with --json, and how they end"
    for line in _COMMANDS:
        with contextlib.chdir(one.folder):
            code, output = command_line.typed([*line.split(), "--json"])
        alike = shapes.of(*(shapes.parsed(text) for text in output.splitlines() if text))
        yield from shapes.lines(f"{shapes.named(line)}: {code}: {alike}")


def _answered(one: Hour, answers: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield "== what its doors answer"
    for request, answer in dict.fromkeys(answers):
        yield from shapes.lines(f"{request}: {answer}")
    for path in ("/stats", "/healthz", "/readyz", "/nonsense"):
        yield from shapes.lines(f"GET {path}: {_got(one.stats, 'GET', path)}")


def _ended(one: Hour) -> None:
    one.typed("processes", "cancel", "2" * 24, "--yes", "--why", "a reason")
    until(
        lambda: any(b"2" * 24 in raw(job) for job in items(one.client.command("ZRANGE", "dead", 0, -1))), "it is dead"
    )
    one.script.released.set()
    with one.away:
        one.broker.wait_for(r'"target\.up"')
        one.broker.wait_for(f'"jid": ?"{"5" * 24}"')
    file = one.folder / "env.json"
    right = file.read_text()
    for text, event in (("{", "refused"), (right.replace('"Concurrency": 4', '"Concurrency": 5'), "reloaded")):
        file.write_text(text)
        one.broker.signal(signal.SIGHUP)
        one.broker.wait_for(rf'"config\.{event}"')
    assert one.broker.stop() == 0, one.broker.output()


def _grouped(one: Hour, before: Sequence[str]) -> tuple[Running, list[str]]:
    """Two processes, of which one dies with a job in progress; Redis dies too, and has nothing when it is back. What is logged
    then that was not reported `before`.
    """
    one.script.released.clear()
    with _running(one.folder, "--processes", "2") as group:
        group.wait_for(r'"broker\.started"', times=2)
        until(lambda: "\nrestbroker_ready 1" in _scraped(one), "the supervisor knows that its workers are ready")
        one.push("9" * 24, _args("check_account", "hangs again"))
        (worker,) = until(lambda: names(one.client.command("KEYS", "*:work")), "one of them has it in progress")
        os.kill(int(worker.split(":")[-3]), signal.SIGKILL)
        group.wait_for(r'"jobs\.recovered"')
        one.script.released.set()
        group.wait_for(r'"broker\.started"', times=3)
        until(lambda: "restbroker_worker_memory_bytes{" in _scraped(one), "its supervisor has a report of a worker")
        known = {line.split()[0] for line in before if line.strip()}
        more = [line for line in (*_keys(one), *_metrics(one)) if line[2:3] > " " and line.split()[0] not in known]
        one.redis.stop()
        group.wait_for(r'"redis\.lost"', times=2)
        one.redis.wipe()
        one.redis.start()
        group.wait_for(r'"redis\.back"', times=2)
        group.wait_for(r'"fenced"', times=2)
        group.signal(signal.SIGTSTP)
        group.wait_for(r'"broker\.quiet"', times=2)
        assert group.stop() == 0, group.output()
    return group, ["== of a group, of which one died: what is new in Redis and /metrics", *more]


def _logged(*brokers: Running) -> Iterator[str]:
    yield "== lines of the log, at all levels"
    rows: dict[str, list[dict[str, Any]]] = {}
    for line in "\n".join(broker.output() for broker in brokers).splitlines():
        if not line.startswith("{"):  # of its start, before it logs
            continue
        said = json.loads(line)
        if said["event"] == "still":  # each minute, if it takes so long
            continue
        if not said["event"].startswith("broker."):  # which of a group informs the others is by chance
            said.pop("worker", None)
        rows.setdefault(f"{said.pop('event')} {said.pop('level')}", []).append(said)
    for event in sorted(rows):
        # What several lines of ten seconds each have may be split in any way.
        yield from shapes.lines(f"{event}: {shapes.of(*rows[event]).replace('?:', ':')}")
