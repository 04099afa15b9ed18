"""`restbroker events send`: a file is posted as its sender would, and what became of it is told, without a secret."""

import json
from pathlib import Path
from typing import Any, Final

from restbroker.job.hiding import MASK
from restbroker.store.client import Client, items, raw
from tests.support.ports import free_port
from tests.support.process import run_here, started
from tests.support.redis_server import RedisServer
from tests.support.rows import rows

SECRET: Final = "a-secret-of-many-letters"
TOKEN: Final = "the-token-of-the-alerts"
SOURCE: Final = {
    "Kind": "webhook",
    "Path": "/in",
    "SecretFile": "secret",
    "Target": "chat",
    "Command": "send_message",
    "Arguments": {"type": "chat", "from": "a@b.org", "to": "{who}@b.org", "subject": "", "body": "[{level}] {title}"},
    "Except": {"Types": ["quiet"]},
    "Options": {
        "Map": {"type": "/type", "title": "/title", "level": "query:level", "who": "path:0", "me": "header:X-Me"}
    },
}
PLAIN: Final = {
    "Kind": "webhook",
    "Path": "/plain",
    "Queue": "events",
    "Class": "Event",
    "Options": {"Map": {"password": "/password"}},
}
COMPONENT: Final = {
    "Kind": "ejabberd-component",
    "Queue": "x",
    "Class": "X",
    "Options": {"Name": "push.b.org", "Hosts": ["b.org"], "PassFile": "secret"},
}
SNS: Final = {"Kind": "mongooseim-sns", "Path": "/sns", "Queue": "x", "Class": "X"}
SHOWN: Final = """members:
  type: notify
  title: x
    y
  who: a
queue: alerts
command: send_message
arguments:
  type: chat
  from: a@b.org
  to: a@b.org
  subject:
  body: [] x
    y
"""
DISK: Final = {"type": "disk", "title": "Disk full"}


def configure(place: Path, port: int, redis_url: str = "redis://127.0.0.1:1", name: str = "env.json") -> None:
    (place / "secret").write_text(SECRET)
    token = {"Secret": TOKEN, "Allow": ["send_message"], "Targets": ["chat"], "Signed": True}
    topics = {"AccessKey": "a", "SecretKey": "b" * 16, "Topics": {"t": {"Type": "message"}}}
    sources = {"alerts": SOURCE, "plain": PLAIN, "component": COMPONENT, "sns": SNS | {"Options": topics}}
    document = {
        "RedisURL": redis_url,
        "Tokens": {"alerts": token},
        "Targets": {"chat": {"Kind": "ejabberd", "URL": "http://127.0.0.1:1/api", "Queues": ["alerts"]}},
        "Events": {"Listen": f"127.0.0.1:{port}", "Sources": sources},
    }
    (place / name).write_text(json.dumps(document))


def send(place: Path, *words: str, body: object = DISK) -> tuple[int, Any, str]:
    """The exit code, what was told, and the errors."""
    stdin = body if isinstance(body, str) else json.dumps(body)
    done = run_here(["events", "send", *words, "--json"], directory=place, stdin=stdin)
    assert SECRET not in done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_a_file_is_posted_as_by_its_sender(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    port = free_port()
    configure(tmp_path, port, redis_server.url)
    (tmp_path / "disk.json").write_text(json.dumps(DISK))
    with started(["run"], directory=tmp_path) as broker:
        broker.wait_for(r"listening what=events", timeout_s=180.0)
        words = ("alerts", "disk.json", "--path", "ops?level=high", "--header", "X-Me: I")
        code, told, errors = send(tmp_path, *words)
        again = send(tmp_path, *words)[1]
        refused = send(tmp_path, "alerts", "-", "--path", "a@b")
        large = send(tmp_path, "alerts", "-", "--path", "ops", body="x" * 1_100_000)
        plain = send(tmp_path, "plain", "-", "--type", "text/plain", body="hello")[1]
        (tmp_path / "other").mkdir()
        configure(tmp_path / "other", port, redis_server.url)
        edited = (tmp_path / "other/env.json").read_text().replace('"/title"', '"/name"')
        (tmp_path / "other/env.json").write_text(edited)
        unlike = send(tmp_path / "other", "alerts", "-", "--path", "unlike")
        (tmp_path / "secret").write_text("another-secret-of-many-letters")
        (tmp_path / "other/secret").write_text("a-wrong-one-of-many-letters")
        stranger = send(tmp_path / "other", "alerts", "-", "--path", "ops")
        assert broker.stop() == 0
    members = {"type": "disk", "level": "high", "title": "Disk full", "who": "ops", "me": "I"}
    said = {"type": "chat", "from": "a@b.org", "to": "ops@b.org", "subject": "", "body": "[high] Disk full"}
    assert (code, errors, told["status"], told["error"]) == (0, "", 202, None)
    assert (told["members"], told["queue"], told["command"]) == (members, "alerts", "send_message")
    assert told["arguments"] == said
    later, pushed = map(json.loads, map(raw, items(store.command("LRANGE", "queue:alerts", 0, -1))))
    assert (pushed["jid"], pushed["args"][1]) == (told["jid"], said)
    assert (again["status"], again["jid"]) == (202, None)
    assert (refused[0], refused[1]["status"], refused[1]["jid"]) == (1, 422, None)
    assert refused[1]["error"].startswith("The argument to takes only a word")
    assert (large[0], large[1]["status"], large[1]["error"]) == (1, 413, "It has more than 1048576 bytes.")
    assert (unlike[0], unlike[1]["status"], unlike[1]["error"]) == (0, 202, None)
    assert unlike[1]["jid"] == later["jid"]
    assert unlike[1]["file_error"] == "It has no level or title, of which the argument body is made."
    assert (plain["status"], plain["queue"], plain["arguments"]) == (202, "events", None)
    assert (stranger[0], stranger[1]["status"]) == (4, 401)
    assert stranger[1]["error"] == "The secret of this source is missing or wrong."


@rows(
    ("words", "body", "code", "told"),
    [
        ("alerts - --path /ops?level=1", DISK, 0, {"queue": "alerts"}),
        ("alerts - --path ops", DISK, 0, {"queue": "alerts"}),
        ("alerts -", DISK, 1, {"queue": None, "error": "It has no who, of which the argument to is made."}),
        ("alerts - --path ops", {"type": "quiet"}, 0, {"members": {"type": "quiet", "who": "ops"}, "queue": None}),
        ("alerts - --path \udcff", DISK, 1, {"error": "This is not an event: path:0 (Map) is not in utf-8."}),
        ("alerts - --path ops", "{", 1, {"members": None, "queue": None}),
        ("alerts - --path ops --type a/b", DISK, 1, {"members": None}),
        ("alerts - --path ops --header content-type:text/plain", DISK, 1, {"queue": None}),
        ("plain -", {"password": "hush"}, 0, {"members": {"type": "notify", "password": MASK}, "queue": "events"}),
    ],
)
def test_a_dry_run_needs_nobody(tmp_path: Path, words: str, body: object, code: int, told: dict[str, Any]) -> None:
    """Neither Redis nor a process."""
    configure(tmp_path, free_port())
    found = send(tmp_path, *words.split(), "--dry-run", body=body)
    assert (found[0], {name: found[1][name] for name in told}) == (code, told)
    assert found[1].keys().isdisjoint({"status", "jid"})


def test_people_see_lines(tmp_path: Path) -> None:
    configure(tmp_path, free_port())
    done = run_here(
        ["events", "send", "alerts", "-", "--path", "a", "--dry-run"], directory=tmp_path, stdin='{"title": "x\\ny"}'
    )
    assert done.stdout == SHOWN
    done = run_here(["events", "send", "alerts", "-", "--dry-run"], directory=tmp_path, stdin="{}")
    assert done.stdout.endswith(
        "\nqueue: -\ncommand: -\narguments: -\nerror: It has no who, of which the argument to is made.\n"
    )


@rows(
    ("words", "code", "why"),
    [
        ("alerts -", 1, "No process accepts events at 127.0.0.1:PORT: Connection refused."),
        ("alerts -", 1, "`restbroker run` starts it; --dry-run needs none."),
        ("alrts -", 2, "Did you mean alerts?"),
        ("component -", 2, "The source component of kind ejabberd-component takes nothing that others post."),
        ("sns -", 2, "takes nothing that others post."),
        ("alerts - --header X", 1, "No process accepts events"),
        ("alerts - --header X\nY:1", 2, "HTTP has no such header."),
        ("alerts - --type a\nb:c", 2, "HTTP has no such header."),
        ("alerts missing.json", 2, "missing.json cannot be read: No such file or directory."),
    ],
)
def test_what_cannot_be_posted_is_said(tmp_path: Path, words: str, code: int, why: str) -> None:
    configure(tmp_path, port := free_port())
    found = send(tmp_path, *words.split(" "))
    assert (found[0], found[1], why.replace("PORT", str(port)) in found[2]) == (code, None, True), found[2]
