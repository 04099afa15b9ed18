"""What each verb that shows or changes jobs, queues, targets, keys and processes says and does, on a Redis of its own.

`python -m tests.golden` writes and compares it. In `verbs_typed.txt` each line below "show" runs as it is and with
`--json`; each below "change" with `--dry-run`, as it is, and with `--yes` where it asks; each below "refuse" as it is.
After each run stands what it changed in Redis. Always holds: each line meets the same jobs; times and names of the
machine are left out. What a verb means for a job is proved in tests/operate.
"""

import json
import re
import shlex
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from typing import Any, Final

import attrs

from restbroker.console.who import who
from restbroker.job.order import Order, key_rules
from restbroker.job.settlement import Dead, Retry
from restbroker.operate import audit
from restbroker.operate.audit import AuditEntry
from restbroker.store import history, pauses, queues, sources
from restbroker.store.client import Client, StoreSettings, items, open_client, raw
from restbroker.store.history import JobEnd
from restbroker.store.jobs import FetchRequest, FetchResult, register
from restbroker.store.settling import FinishRequest
from restbroker.store.sources import SourceState
from tests.operate.pools import record, serve
from tests.store.pools import FACTS
from tests.support.process import run_here
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.store_calls import fetch, finish

NOW_S: Final = 1_700_000_000
_OPTIONS: Final = {"show": ("", "--json"), "change": ("--dry-run", "", "--yes"), "refuse": ("",)}
_VARIABLE: Final = {
    # What releases of Typer write differently.
    r"\{(\w+)\}": r"\1",
    r" \(Possible options: .*\)": "",
    r"(\w{3} )?2\d{3}-\d\d-\d\d \d\d:\d\d(:\d\d)?( [+-]\d{4})?": "LOCAL TIME",
    r"(?!2023-11-14|2026-11-22|2099)2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ": "TIME",
    r'("\w*(age_s|latency_s|remaining_s)": )\d[\d.]*': r"\1SECONDS",
    r"\b\d{10}\.\d+-[0-9a-f]{40}": "KEY",
    r"\b\d{13}-\d+\b|\b[0-9a-f]{16}\b": "RUN",
    r"\b1[89]\d{8}(\.\d+)?|\b17[1-9]\d{7}(\.\d+)?": "TIME",
    r"\b[0-9a-f]{24}\b": "JID",
    r"\b\d{8,10}\.\d+|(?<=[Z2]\t)\d+\.\d(?=\t)|\d+\.\d(?=s ago)|(?<=\t)(71\d\d|7200)\.\d\b": "SECONDS",
    r"\b1 h 5\d min( \d+ s)?|\b2 h(?= more)": "A TIME",
}
"""What is of the machine, of this minute or of a library, and what stands for it."""


@attrs.frozen
class Scene:
    """What is in Redis before each line, and what its configuration has besides."""

    name: str
    fill: Callable[[Client], None]
    more: Mapping[str, Any]

    def lines(self, what: str) -> Sequence[str]:
        """Return the lines below [NAME WHAT]."""
        typed = Path(__file__).with_name("verbs_typed.txt").read_text("utf-8")
        return typed.partition(f"[{self.name} {what}]\n")[2].partition("\n\n")[0].splitlines()


def text() -> str:
    """Return all of it."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "redis").mkdir()
        server = RedisServer(redis_binary(), folder / "redis").start()
        with closing(server), closing(open_client(StoreSettings(server.url, namespace="ns"))) as client:
            return "\n".join(line for scene in _SCENES for line in _of(scene, client, folder, server.url)) + "\n"


def _of(scene: Scene, client: Client, folder: Path, url: str) -> Iterator[str]:
    document = {
        "RedisURL": url, "RedisNamespace": "ns", "RestURL": "http://127.0.0.1:1/api", "RestQueue": "rest",
        "Token": "right-token", **scene.more,
    }  # fmt: skip
    used = {name: value for name, value in document.items() if value is not None}
    (folder / "env.json").write_text(json.dumps(used))
    yield f"== {scene.name}"
    for what, options in _OPTIONS.items():
        for line in scene.lines(what):
            client.command("FLUSHALL")
            scene.fill(client)
            for option in options:
                done = yield from _run(client, folder, f"{line} {option}".rstrip())
                asks = done.returncode == 2 and "--yes" in done.stderr
                if what == "change" and not option and not asks:
                    break


def _run(client: Client, folder: Path, line: str) -> Generator[str, None, CompletedProcess[str]]:
    """Yield what a line prints and changes, and return how it ended."""
    before = _contents(client, folder)
    done = run_here(shlex.split(line), directory=folder)
    yield f"$ {line} -> {done.returncode}"
    lines = [*_shown(done.stdout, as_json="--json" in line), *(f"! {said}" for said in done.stderr.splitlines())]
    lines += _changed(before, _contents(client, folder))
    yield from (_constant(said.replace(str(folder), "FOLDER")) for said in lines)
    return done


def _shown(printed: str, *, as_json: bool) -> Iterator[str]:
    if as_json and printed:
        # Of a list all rows are alike.
        found = json.loads(printed)
        printed = json.dumps(found[:1] if isinstance(found, list) else found, indent=1)
    yield from printed.splitlines()


def _contents(client: Client, folder: Path) -> dict[str, list[str]]:
    """Return what the commands are there to change: files, jobs by their ids, and other keys of theirs."""
    found = {"files": sorted(path.name for path in folder.iterdir())}
    for key in sorted(raw(key).decode() for key in items(client.command("KEYS", "ns:*"))):
        match raw(client.command("TYPE", key)):
            case b"list":
                found[key] = [_job(key) for key in items(client.command("LRANGE", key, 0, -1))][::-1]
            case b"zset":
                found[key] = [_job(member) for member in items(client.command("ZRANGE", key, 0, -1))]
            case b"hash" if ":pauses" in key or ":order:" in key or key.endswith("periodic"):
                found[key] = sorted(_job(name) for name in items(client.command("HGETALL", key))[::2])
    notes = [entry.note for entry in audit.entries(client, 50)]
    found["audit"] = [
        f"{note.action} {note.place} {note.where} {note.state} {note.done}: {note.why}" for note in notes[::-1]
    ]
    return found


def _job(member: object) -> str:
    """Return a job's id, with its queue, arguments and what else distinguishes its states."""
    try:
        job = json.loads(raw(member))  # type: ignore[arg-type]  # as Redis answers
        more = {name: job[name] for name in ("error_class", "retry_count", "restbroker_revision") if name in job}
        return f"{job['jid']} ({job.get('queue', '')}) {json.dumps(job['args'][1:2])} {json.dumps(more)}"
    except (ValueError, TypeError, KeyError, IndexError):
        return raw(member).decode(errors="replace")  # type: ignore[arg-type]  # as Redis answers


def _changed(before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for key in sorted({*before, *after}):
        was, now = before.get(key, ()), after.get(key, ())
        yield from (f"- {key}: {line}" for line in was if line not in now)
        yield from (f"+ {key}: {line}" for line in now if line not in was)


def _constant(line: str) -> str:
    """Return it without what is of the machine, or of this minute."""
    for pattern, name in _VARIABLE.items():
        line = re.sub(pattern, name, line)
    return line.replace(who(), "WHO")


def _put(client: Client, zset: str, at_s: float, jid: str, **more: object) -> None:
    fields = {
        "class": "Add", "args": ["register", {"user": jid, "host": "h", "password": "hush-hush"}, "right-token"],
        "jid": jid, "queue": "rest", "error_class": "ServerError", "error_message": "It failed.",
        "failed_at": NOW_S + 0.5, "retry_count": 1, **more,
    }  # fmt: skip
    client.command("ZADD", f"ns:{zset}", at_s, json.dumps(fields))


def _push(client: Client, *jobs: Mapping[str, object]) -> None:
    each = {"class": "Add", "args": ["register", {"password": "hush-hush"}, "right-token"], "queue": "rest"}
    queues.push(client, "rest", [json.dumps({**each, "enqueued_at": NOW_S, **job}).encode() for job in jobs])


def _failed(client: Client) -> None:
    """Put jobs into each set, into a queue of ours and one of others; have a process of ours and one of Ruby's run."""
    tried = {"at": NOW_S + 0.5, "status": 500, "outcome": "failed", "code": "ServerError", "ms": 12.5, "excerpt": "oh"}
    _put(client, "dead", NOW_S, "d1")
    for number in (2, 3):
        _put(client, "dead", NOW_S + number, f"d{number}", error_class="BadArgument", queue="default")
    _put(client, "retry", NOW_S, "r1", restbroker_attempts=[tried], restbroker_uncertain=1)
    _put(client, "schedule", 4e9, "s1")
    _push(client, *({"jid": f"w{number}"} for number in range(3)))
    queues.push(client, "mailers", [b'{"jid":"m1","class":"M","args":[]}'])
    pauses.pause_queue(client, "mailers", "ann@web1", "too many", 7200.0)
    pauses.pause_target(client, "ejabberd", "bob@web2", "the server moves", None)
    begun = AuditEntry(who="ann@web1", action="retry", place="dead", state="begun")
    run = audit.write(client, begun)
    audit.write(client, attrs.evolve(begun, place="retry"))
    audit.write(client, attrs.evolve(begun, state="ended", run=run, done=2, why="it is up again"))
    serve(client, "ejabberd", 7, ["rest"])
    serve(client, "two", 7, ["two"], limited="dead", max_in_flight=7)
    serve(client, "three", 7, ["three"], finishing=True)
    record(client, "node:7:abc", version="restbroker 1.0", tag="restbroker", queues=["rest"])
    record(client, "web:9:ab", queues=["q"], version="7.3.2")
    client.command("HSET", "ns:web:9:ab", "beat", f"{time.time() - 4000:.3f}")
    ended = history.to_record(JobEnd("e1", "ejabberd", "register", "delivered", 200, 12.5, arguments={"user": "eve"}))
    client.command("XADD", "ns:restbroker:history", "*", "end", ended)
    at_s, until_s = 1_795_368_605.0, 2e9
    ann = SourceState("chat", "openfire-sse", "web1:7", "ann", at_s, login="…877", opened_s=at_s, heartbeat_s=until_s)
    silent = SourceState("mim", "mongooseim-amqp", "web1:7", "", at_s, "RabbitMQAway", "It is silent.", "Wait for it.")
    sources.write(client, [ann, silent])


def _ordered(client: Client) -> None:
    """Have ann's first job in progress, bob's wait for its next try, and the key "c d" stopped by one that died."""
    identity, text = "web1:7:abc:ejabberd", key_rules(Order(), None)
    assert register(client, identity, FACTS, ["rest"], key_rules=text)
    _push(
        client,
        *({"jid": f"{key[0]}{number}", "order_key": key} for key in ("ann", "bob", "c d") for number in (1, 2, 3)),
    )
    answer = fetch(client, FetchRequest(identity, "ejabberd", ("rest",), 0, 50, 50, key_rules=text))
    assert isinstance(answer, FetchResult)
    taken = {json.loads(job.raw)["jid"]: job for job in answer.jobs}
    ends: list[tuple[str, Dead | Retry]] = [
        (taken["b1"].ticket, Retry(4e9, taken["b1"].raw)),
        (taken["c1"].ticket, Dead(NOW_S, taken["c1"].raw, effect="stop")),
    ]
    finish(client, FinishRequest(identity, "ejabberd", ("rest",), 0, ends, key_rules=text), NOW_S)


_TOKENS: Final = {"few": {"Secret": "another-secret-of-16", "Allow": ["status"]}}
_PERIODIC: Final = {"nightly": {"Cron": "30 4 * * *", "TimeZone": "Europe/Berlin", "Command": "status"}}
_SCENES: Final = (
    Scene("failed", _failed, {"History": "1h", "HistoryArguments": ["user"], "Periodic": _PERIODIC}),
    Scene("keys", _ordered, {"OrderBy": "order_key"}),
    Scene("frame", lambda _: None, {"RestUser": "a@h", "RestPass": "p", "Token": None, "Tokens": _TOKENS}),
)
