"""A person who inspects, corrects, resends, moves, deletes or looks for jobs is shown no secret on the way.

A real broker delivers to servers that repeat, in their refusals, what they were sent. Then every command for failed and
waiting jobs runs, each page is asked for and each of its steps taken, and secrets are hunted in every output.
"""

import json
import re
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import httpx
import pytest

from restbroker.config.secret import Secret
from restbroker.store import queues
from restbroker.store.client import Client, StoreSettings, integer, items, open_client, raw
from tests.support.active_job import wrapper
from tests.support.html_page import Form, parse
from tests.support.process import Running, run_here, started
from tests.support.receiver import Answer, Received, Receiver
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.spellings import found_in
from tests.support.wait import until

SECRETS: Final = {
    "argument": "argum3nt-of-a-job-4711",
    "replacement of it": "r3placement-4711",
    "token nobody has": "wr0ng-token-4711",
    "flat token": "fl4t-token-4711",
    "named token": "n4med-token-4711",
    "signing token": "s1gning-token-4711-s1gning-token-4711",
    "login": "l0gin-of-the-server-4711",
    "login of the pages": "p4ges-4711-4711",
    "token of the metrics": "m3trics-4711-4711",
    "password of Redis": "r3dis-4711-4711",
    "secret of events": "ev3nts-s3cret-4711",
    "header": "b3arer-in-a-header-4711",
    "of the server's own": "s3rvers-own-4711",
}
TOKENS: Final = [SECRETS[name] for name in ("flat token", "named token", "token nobody has", "signing token")]
QUEUES: Final = ("rest", "hook")
HELD: Final = "held"
"""A queue that waits."""
FAR_S: Final = 4_000_000_000
_MOST_PAGES: Final = 400
_NOWHERE: Final = "n0thing-has-this-4711"
HTML: Final = {"Accept": "text/html"}


@attrs.frozen
class Stage:
    """A broker that serves pages at `site`; `outputs` is what was said so far, by where."""

    config: Path
    client: Client
    broker: Running
    site: str
    visitor: httpx.Client
    outputs: dict[str, str] = attrs.field(factory=dict)

    def run(self, *words: str) -> str:
        """Runs a command; what it prints."""
        done = run_here([*words, "--config", str(self.config)], directory=self.config.parent)
        said = f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in said, (words, said)
        self.outputs[" ".join(words)] = said
        return said

    def size(self, zset: str) -> int:
        return integer(self.client.command("ZCARD", zset))

    def visit(self, path: str) -> str:
        answer = self.visitor.get(self.site + path)
        assert answer.status_code < 500, (path, answer.text)
        self.outputs[f"GET {path}"] = answer.text
        return answer.text

    def send(self, path: str, form: dict[str, Any]) -> str:
        answer = self.visitor.post(self.site + path, data=form)
        assert answer.status_code < 500, (path, answer.text)
        self.outputs[f"POST {path} {len(self.outputs)}"] = answer.text
        return answer.text


def repeating(received: Received) -> Answer:
    """Refuses each command with all that it was sent, and with what only the server knows."""
    if received.target.endswith(("/status", "/connected_users_number")):
        return Answer(200, b'"well"', {"Content-Type": "application/json"})
    own = SECRETS["of the server's own"]
    said = f"{received.headers} {received.body.decode()} Authorization: Bearer {own}, http://ann:{own}@127.0.0.1/"
    return Answer(400, json.dumps({"status": "error", "code": 22, "message": said}).encode(), {})


def document(redis: RedisServer, port: int) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}/api"
    note = {"Path": "note", "Body": {"user": "{user}", "password": "{password}", "host": "{host}"}}
    headers = {"Authorization": f"Bearer {SECRETS['header']}"}
    options = {"AllowPrivate": True, "Headers": headers, "Commands": {"note": note}}
    http = {"Kind": "http", "URL": url, "Queues": ["hook"], "Options": options}
    source = {"Kind": "mongooseim-webhook", "Path": "/e", "Queue": "events", "Class": "E"}
    return {
        "RedisURL": redis.url.replace("127", f":{SECRETS['password of Redis']}@127", 1),
        "RestURL": url,
        "RestUser": "admin@example.org",
        "RestPass": SECRETS["login"],
        "RestQueue": "rest",
        "JabberDomain": "example.org",
        "Token": SECRETS["flat token"],
        "Tokens": {
            "app": {"Secret": SECRETS["named token"]},
            "signer": {"Secret": SECRETS["signing token"], "Signed": True},
        },
        "Targets": {
            "http": http,
            "held": {"Kind": "ejabberd", "URL": url, "Queues": [HELD]},
        },
        "Events": {"Listen": "127.0.0.1:0", "Sources": {"hooked": {**source, "Secret": SECRETS["secret of events"]}}},
        "Stats": True,
        "StatsPort": 0,
        "StatsUser": "ops",
        "StatsPass": SECRETS["login of the pages"],
        "MetricsToken": SECRETS["token of the metrics"],
        "ResponseDetails": True,
        "ResponseQueue": "replies",
        "History": "1h",
        "HistoryArguments": ["user", "host", "note", "title", "value"],
        "LogLevel": "debug",
    }


def job(number: int, queue: str, token: str, **more: object) -> bytes:
    """One that shows its token, or another secret, wherever texts are free."""
    arguments = {"user": f"user{number}", "host": "example.org", "password": SECRETS["argument"]}
    command = "note" if queue == "hook" else "register"
    fields = {"class": "Add", "jid": f"{number:024x}", "queue": queue, "retry": True}
    times = {"created_at": 1_700_000_000.5, "enqueued_at": 1_700_000_000.5}
    return json.dumps({**fields, **times, "args": [command, arguments, token], **more}).encode()


def of_rails(raw: bytes, *, with_object: bool = False) -> bytes:
    """The same job as ActiveJob wraps it; `with_object`: in it the password became an object of Rails."""
    fields = json.loads(raw)
    command, arguments, token = fields["args"]
    arguments |= {"_aj_symbol_keys": [*arguments]}
    if with_object:
        arguments["password"] = {"_aj_serialized": "Secret", "value": arguments["password"]}
        arguments["note"] = {"_aj_globalid": f"gid://shop/Secret/password={SECRETS['argument']}"}
    return json.dumps({**fields, **wrapper([command, arguments, token])}).encode()


def failed(number: int, token: str) -> bytes:
    words = f"The password {SECRETS['argument']} of {token} is wrong."
    times = {"retry_count": 3, "failed_at": 1_700_000_000.5}
    return job(number, "rest", token, error_class="Refused", error_message=words, error_backtrace=[words], **times)


def fill(client: Client) -> None:
    """Jobs that producers pushed, and that failed before, with each of the tokens."""
    for number, token in enumerate(TOKENS):
        queues.push(client, HELD, [job(100 + 10 * number + n, HELD, token) for n in range(6)])
        rails = [of_rails(job(600 + 10 * number + n, HELD, token), with_object=bool(n)) for n in range(2)]
        queues.push(client, HELD, rails)
        for zset, score, first in (("dead", 1_700_000_000, 200), ("retry", FAR_S, 300), ("schedule", FAR_S, 400)):
            for n in range(3):
                client.command("ZADD", zset, score + number, failed(first + 10 * number + n, token))
            wrapped = of_rails(failed(first + 10 * number + 3, token), with_object=bool(number % 2))
            client.command("ZADD", zset, score + number, wrapped)
    for number, queue in enumerate(QUEUES):
        pushed = [job(500 + 10 * number + n, queue, token) for n, token in enumerate(TOKENS)]
        rails = [job(700 + 10 * number + n, queue, token) for n, token in enumerate(TOKENS)]
        queues.push(client, queue, [*pushed, *(of_rails(raw, with_object=n % 2 > 0) for n, raw in enumerate(rails))])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The broker has tried what could be delivered."""
    directory = tmp_path_factory.mktemp("shown")
    password = SECRETS["password of Redis"]
    with closing(RedisServer(redis_binary(), directory / "redis").start()) as redis, Receiver(repeating) as server:
        redis.command(f"CONFIG SET requirepass {password}")
        config = directory / "env.json"
        config.write_text(json.dumps(document(redis, server.port)))
        config.chmod(0o600)
        with closing(open_client(StoreSettings(redis.url, password=Secret(password)))) as client:
            run_here(["queues", "pause", HELD, "--config", str(config)], directory=directory)
            fill(client)
            with started(["run", "--config", str(config)], directory=directory / "run") as broker:
                site = broker.wait_for(r"listening what=/stats addresses=(\S+)")[1]
                with httpx.Client(trust_env=False, follow_redirects=True, headers=HTML, timeout=30) as visitor:
                    found = Stage(config, client, broker, site, visitor)
                    dead = 4 * len(TOKENS) + 2 * len(QUEUES) * len(TOKENS)
                    until(lambda: found.size("dead") == dead, "what was pushed is dead")
                    yield found


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
@pytest.mark.slow  # every command, each with every secret
def test_actions_on_failed_and_waiting_jobs_show_no_secret(stage: Stage) -> None:
    log_in(stage)
    crawl(stage)
    look(stage)
    steps(stage)
    act(stage)
    look(stage)
    crawl(stage)
    entries = [raw(word) for entry in items(stage.client.command("XRANGE", "restbroker:audit", "-", "+"))
               for word in items(items(entry)[1])]  # fmt: skip
    stage.outputs["the audit in Redis"] = b"\n".join(entries).decode()
    stage.outputs["the log"] = stage.broker.output()
    assert len(entries) > 20
    assert len(stage.outputs) > 100
    assert [(where, leak) for where, text in stage.outputs.items() for leak in found_in(text, SECRETS)] == []


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
@pytest.mark.parametrize("name", SECRETS)
def test_search_for_a_secret_does_not_confirm_it(stage: Stage, name: str) -> None:
    for form in ("{}", "message ~ {}", "user={}", "--json {}"):
        answers = []
        for text in (SECRETS[name], _NOWHERE):
            words = form.format(text).split(" ", 1) if form.startswith("--") else [form.format(text)]
            done = run_here(["find", *words, "--config", str(stage.config)], directory=stage.config.parent)
            answers.append((done.returncode, re.sub(r'"(at|took|seconds)[^,]*', "", done.stdout.replace(text, "?"))))
        assert answers[0] == answers[1], (form, answers)


def log_in(stage: Stage) -> None:
    assert stage.visitor.get(stage.site).status_code == 401
    stage.visitor.auth = httpx.BasicAuth("ops", SECRETS["login of the pages"])
    stage.visitor.headers["Sec-Fetch-Site"] = "same-origin"


def crawl(stage: Stage) -> None:
    """Asks for each page that a link leads to."""
    seen, ahead = {"/"}, deque(["/"])
    while ahead and len(seen) < _MOST_PAGES:
        path = ahead.popleft()
        for link in parse(path, stage.visit(path)).links:
            parts = urlsplit(link)
            if not parts.netloc and parts.path.startswith("/") and link not in seen and "static" not in link:
                seen.add(link)
                ahead.append(link)
    assert {"/dead", "/retries", "/activity"} <= {urlsplit(path).path for path in seen}, seen


def look(stage: Stage) -> None:
    """Every command that changes nothing, for people and for programs."""
    rows = ["dead summary", "retries summary", "dead list", "retries list", "scheduled list", "stats", "audit"]
    rows += ["find user2", "find user=user200", "find register", f"queues peek {HELD}", "queues list"]
    rows += [f"explain {number:024x}" for number in (100, 110, 130, 200, 210, 300, 330, 500, 501, 510, 511)]
    rows += [f"explain {number:024x}" for number in (203, 213, 303, 403, 600, 601, 611, 700, 701, 710, 711)]
    rows += [f"dead show {number:024x}" for number in (200, 203, 210, 213, 500, 510, 700, 701)]
    for words in rows:
        stage.run(*words.split())
        stage.run(*words.split(), "--json")


def act(stage: Stage) -> None:
    """Every command that changes something: tried, then done."""
    new = f"password={SECRETS['replacement of it']}"
    edits = [["edit", f"{200 + 10 * n:024x}", *change] for n in range(4) for change in (["user=bob"], [new])]
    edits += [["edit", f"{number:024x}", change] for number in (203, 213, 701) for change in ("user=bob", new)]
    edits += [["edit", "--where", "arg.host = example.org", new, "user=eve"]]
    for words in [*edits, ["retry", f"{200:024x}"], ["retry", "--where", "error = Refused"]]:
        both(stage, "dead", *words)
    for words in (
        ["edit", f"{300:024x}", new],
        ["edit", f"{313:024x}", new, "note="],
        ["edit", f"{310:024x}", "user=bob", "--retry"],
        ["retry", "--all"],
    ):
        both(stage, "retries", *words)
    both(stage, "scheduled", "edit", f"{400:024x}", new)
    both(stage, "scheduled", "edit", f"{403:024x}", new)
    for n in range(4):
        where = ["--where", f"arg.user = user{100 + 10 * n}"]
        both(stage, "queues", "delete", HELD, *where)
        both(stage, "queues", "kill", HELD, "--where", f"arg.user = user{101 + 10 * n}")
        both(stage, "queues", "kill", HELD, "--where", f"arg.user = user{600 + 10 * n}")
    both(stage, "dead", "delete", "--all")


def both(stage: Stage, *words: str) -> None:
    stage.run(*words, "--dry-run")
    stage.run(*words, "--dry-run", "--json")
    stage.run(*words, "--yes", "--json", "--why", "a try")
    # What was done first can be done no more, or to what is left: that is reported, too.
    stage.run(*words, "--yes")


def steps(stage: Stage) -> None:
    """The forms of pages: what is asked, the difference, what was done."""
    for name in ("dead", "retries", "scheduled"):
        listed = parse(f"/{name}", stage.visit(f"/{name}?jobs=all"))
        for job_page in listed.links_to(f"/{name}/")[-4:]:
            for path in parse(job_page, stage.visit(job_page)).links_to(f"{job_page}/edit"):
                edited(stage, path)
    for name, verb in (("dead", "retry"), ("retries", "retry"), ("queue", "kill"), ("queue", "delete")):
        source = f"/queue?name={HELD}" if name == "queue" else f"/{name}?jobs=all"
        form = form_of(stage.visit(source), f"/{name}/act", boxed=True)
        question = stage.send(f"/{name}/act", {**form.hidden, "job": dict(form.boxes)["job"], "verb": verb})
        stage.send(f"/{name}/act", form_of(question, f"/{name}/act").hidden)


def edited(stage: Stage, path: str) -> None:
    """Takes the steps of the form that edits a job, with a secret in the place of the one that it has."""
    form = form_of(stage.visit(path), path)
    typed = {"arg.user": "ann", "arg.host": "example.org", "arg.password": SECRETS["replacement of it"]}
    shown = stage.send(path, {**form.hidden, **typed, "queue": "rest"})
    for confirmed in (form for form in parse(path, shown).forms if "edit" in form.hidden):
        stage.send(confirmed.action, {**confirmed.hidden, "why": "a try"})


def form_of(html: str, action: str, *, boxed: bool = False) -> Form:
    """The last form with this action that is sent; `boxed`: one with jobs to choose."""
    found = [form for form in parse("", html).forms if form.action == action and form.method == "POST"]
    found = [form for form in found if "job" in dict(form.boxes) or not boxed]
    assert found, (action, [form.action for form in parse("", html).forms])
    return found[-1]
