"""Secrets are hunted wherever restbroker leaves words: logs, pages, commands' output, Redis, /proc.

Each target, of either kind, repeats what it is sent in another way, the login too; half of them refuse the probe as
well. What a server answers to a command that it did (2xx) is the producer's, as it is: no claim is made of it.
"""

import base64
import json
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

import attrs
import httpx
import pytest

from restbroker.config.secret import Secret
from restbroker.store.client import Client, StoreSettings, integer, items, mapping, names, open_client, raw
from tests.support import process
from tests.support.ports import free_port
from tests.support.process import Running
from tests.support.receiver import Received, Receiver
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.spellings import found_in
from tests.support.wait import until

OURS = {
    "Redis": "r3dis-p4ssword",
    "password": 'Lg"in/é+%<7>-secret',
    "password in a file": "f1le login-s3cret",
    "bearer token": "b3arer.tok~en_4711",
    "login in the URL": "url+l0gin-s3cret",
    "signing token": "s1gning-t0ken-4711-s1gning-t0ken-4711",
    "header in a file": "h3ader/k3y+in<a>f1le-s3cret",
    "session in a cookie": "C00KIE-s3ssion-4711",
    "signing secret": base64.b64encode(b"s1gns-requests-with-32-bytes-s3cr").decode(),
}
"""What only the broker knows."""
THEIRS = {
    "token": "t0ken-app-s3cret-4711",
    "argument": "j0b/p4ss-s3cret",
    "message text": 'Priv4te <w0rds> & "quotes" für b0b',
}
"""What a producer put into its job, where restbroker leaves it: the command needs it."""
DONE = re.compile(r"ok-json|http-ok-page")
"""In reports of finished commands: their answer is the producer's."""
DEAD = 10
"""At least so many jobs meet a refusal for good."""
_NO_LENGTH: Final = "transfer-encoding: chunked"


@attrs.frozen
class Given:
    """One request: the header with its login, what that stands for (a password, a token, a session), and its body."""

    authorization: str
    login: str
    body: bytes

    @property
    def everything(self) -> str:
        return f"refused {self.authorization} that is {self.login} for {self.body.decode()}"


def _answer(status: str, body: str, *headers: str) -> bytes:
    raw = body.encode()
    length = [] if _NO_LENGTH in headers else [f"Content-Length: {len(raw)}"]
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, *length, "", ""]).encode() + raw


def _error(status: str, words: str) -> bytes:
    return _answer(status, json.dumps({"code": 1, "status": "error", "message": words}))


WAYS: Final[Mapping[str, Callable[[Given], bytes]]] = MappingProxyType(
    {
        "bad-request": lambda given: _error("400 Bad Request", given.everything),
        "unauthorized": lambda given: _error("401 Unauthorized", given.everything),
        "forbidden": lambda given: _error("403 Forbidden", given.login),
        "not-found": lambda given: _answer("404 Not Found", f"<title>{given.everything}</title>"),
        "busy": lambda given: _answer("503 Busy", given.everything, "Retry-After: 1"),
        "failing": lambda given: _error("500 Oops", given.everything),
        "ok-json": lambda given: _answer("200 OK", json.dumps(given.everything)),
        "ok-page": lambda given: _answer("200 OK", f"<h1>{given.everything}</h1>"),
        "moved": lambda given: _answer(
            "302 Found", "", f"Location: http://u:{quote(given.login)}@h/{quote(given.login)}"
        ),
        "reason": lambda given: _answer(f"400 {given.everything}", '"no"'),
        "header": lambda given: _answer("400 Bad Request", '"no"', f"X-Said: {given.everything}"),
        "bad-header": lambda given: _answer("400 Bad Request", '"no"', f"X Said {given.everything}\x00: 1"),
        "chunks": lambda given: _answer("400 No", f"zz;{given.everything}\r\n{given.everything}\r\n", _NO_LENGTH),
        "url-encoded": lambda given: _error("400 Bad Request", quote(given.everything, safe="")),
        "base64": lambda given: _error("400 Bad Request", base64.b64encode(given.everything.encode()).decode()),
        "twice-json": lambda given: _error("400 Bad Request", json.dumps(given.everything)),
        "cut": lambda given: _error("400 Bad Request", "x" * 290 + given.login),
        "no-http": lambda given: given.everything.encode() + b"\r\n\r\n",
    }
)
"""How it answers everything it is asked, the probe too."""
_WELL: Final = _answer("200 OK", '"The node n@h is started. Status: startedejabberd 23.01-1 is running in that node"')


def repeated(received: Received) -> bytes:
    """The answer. Paths are /WAY/well/COMMAND, where only `register` and `note` are repeated, and /WAY/sick/COMMAND."""
    _, way, *rest = received.target.split("/")
    is_well = rest[:1] == ["well"] and rest[-1] not in ("register", "note")
    return _WELL if is_well else WAYS.get(way, WAYS["not-found"])(_given(received.headers, received.body))


def _given(headers: Mapping[str, str], body: bytes) -> Given:
    if "webhook-signature" in headers:
        return Given(headers["webhook-signature"], OURS["signing secret"], body)
    if session := headers.get("cookie"):
        return Given(session, session.rpartition("session=")[2].partition(";")[0], body)
    authorization = headers.get("authorization") or headers.get("x-api-key", "")
    kind, _, rest = authorization.partition(" ")
    login = base64.b64decode(rest).decode().partition(":")[2] if kind == "Basic" else rest or kind
    return Given(authorization, login, body)


@attrs.frozen
class Hunt:
    """A broker that has met every way, and where its words are."""

    broker: Running
    client: Client
    config: Path
    pages: dict[str, str]

    def output(self, *words: str) -> str:
        """What a command of the same configuration prints."""
        done = process.run_here([*words, "--config", str(self.config)], environ=ENVIRON, directory=self.config.parent)
        return done.stdout + done.stderr


ENVIRON = {"RESTBROKER_REDIS_PASS": OURS["Redis"]}


def logins(directory: Path) -> list[dict[str, Any]]:
    file = directory / "password"
    file.write_text(OURS["password in a file"] + "\n", encoding="utf-8")
    return [
        {"Basic": {"User": "admin@example.org", "Pass": OURS["password"]}},
        {"Basic": {"User": "admin@example.org", "PassFile": str(file)}},
        {"Bearer": {"Token": OURS["bearer token"]}},
        {"Auto": {"User": "admin@example.org", "Pass": OURS["password"]}},
        {},
    ]


def options(directory: Path) -> list[dict[str, Any]]:
    """The logins that only a target of kind `http` can have, and one that all have."""
    file = directory / "header"
    file.write_text(OURS["header in a file"] + "\n", encoding="utf-8")
    return [
        {"Options": {"Headers": {"X-Api-Key": {"File": str(file)}}}},
        {"Options": {"Headers": {"Cookie": f"lang=en; session={OURS['session in a cookie']}; a=1"}}},
        {"Options": {"SigningSecrets": [f"whsec_{OURS['signing secret']}"]}},
        {"Options": {}, "Auth": {"Bearer": {"Token": OURS["bearer token"]}}},
    ]


def targets(port: int, directory: Path) -> Iterator[tuple[str, dict[str, object]]]:
    ways, more = logins(directory), options(directory)
    common = {"AllowPrivate": True, "Commands": {"note": {"Path": "note"}}, "Probe": {"Path": "probe"}}
    for number, (way, probe) in enumerate((way, probe) for way in WAYS for probe in ("well", "sick")):
        auth = ways[number % len(ways)]
        user = "" if auth else f"admin%40example.org:{OURS['login in the URL']}@"
        base = f"127.0.0.1:{port}/{way}/{probe}"
        name = f"{way}-{probe}"
        yield name, {"Kind": "ejabberd", "URL": f"http://{user}{base}", "Queues": [name], "Auth": auth or None}
        own = more[(number + number // len(more)) % len(more)]  # each login is well somewhere, and sick elsewhere
        own = {**own, "Options": {**own["Options"], **common}}
        yield f"http-{name}", {"Kind": "http", "URL": f"http://{base}", "Queues": [f"http-{name}"], **own}


def job(queue: str) -> str:
    command = "note" if queue.startswith("http-") else "register"
    arguments = {"user": "u", "host": "example.org", "password": THEIRS["argument"]}
    arguments |= {"body": THEIRS["message text"]}
    args = [command, arguments, THEIRS["token"], f"order-{queue}"]
    fields = {"class": "Add", "jid": f"jid-{queue}", "queue": queue, "retry": 2, "args": args}
    return json.dumps({**fields, "reply_to": f"restbroker:reply:{queue}"})


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.nightly)])
def hunt(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Hunt]:
    directory = tmp_path_factory.mktemp("hunt")
    redis = RedisServer(redis_binary(), directory / "redis").start()
    redis.command(f"CONFIG SET requirepass {OURS['Redis']}")
    client = open_client(StoreSettings(redis.url, password=Secret(OURS["Redis"])))
    health = free_port()
    with Receiver(repeated) as server:
        served = dict(targets(server.port, directory))
        config = directory / "env.json"
        config.write_text(json.dumps(document(redis.url, served, health)), encoding="utf-8")
        config.chmod(0o600)
        for queue in served:
            client.command("LPUSH", f"queue:{queue}", job(queue))
        command = ["run", "--config", str(config), "--processes", str(request.param)]
        with process.started(command, directory=directory / "run", environ=ENVIRON) as broker:
            paths = set(map(first_path, served))
            until(lambda: paths <= {post.target for post in list(server.received)}, "each was sent a request", 60.0)
            until(lambda: integer(client.command("ZCARD", "dead")) >= DEAD, "jobs die", 60.0)
            broker.signal(signal.SIGTTIN)
            broker.wait_for("broker.quiet|Task|task", timeout_s=60.0)
            stats = broker.wait_for(r"listening what=/stats addresses=(\S+)")[1]
            places = {"stats": f"{stats}/stats", "metrics": f"{stats}/metrics"}
            places |= {"readyz": f"http://127.0.0.1:{health}/readyz"}
            pages = {name: httpx.get(url, trust_env=False).text for name, url in places.items()}
            yield Hunt(broker, client, config, pages)
            assert broker.stop() == 0
    client.close()
    redis.close()


def document(redis_url: str, served: dict[str, dict[str, object]], health: int) -> dict[str, object]:
    return {
        "RedisURL": redis_url,
        "Targets": served,
        "Tokens": {"app": {"Secret": THEIRS["token"]}, "admin": {"Secret": OURS["signing token"], "Signed": True}},
        "ResponseQueue": "replies",
        "ResponseDetails": True,
        "LogLevel": "debug",
        "Stats": True,
        "StatsPort": 0,
        "HealthBind": f"127.0.0.1:{health}",
        "Backoff": {"Base": "100ms", "Factor": 1, "Cap": "100ms"},
    }


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
def test_debug_log_and_task_dump_hold_no_secret(hunt: Hunt) -> None:
    said = hunt.broker.output()
    assert "level" in said or "DEBUG" in said
    assert leaks(said) == []


@pytest.mark.promise("Defects of the Go original", "tokens and passwords stood in the log and /stats")
@pytest.mark.promise("Security: who can reach the ports", "to learn secrets")
def test_no_secret_is_on_a_page(hunt: Hunt) -> None:
    assert [(page, leak) for page, text in hunt.pages.items() for leak in leaks(text)] == []


COMMANDS = (
    *("stats", "stats --json", "dead --limit 100", "dead --json", "retries", "retries --json", "check"),
    *("check --json", "config show", "config show --json", "token list", "token list --json"),
)


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
def test_no_secret_is_in_what_a_command_prints(hunt: Hunt) -> None:
    said = {words: hunt.output(*words.split()) for words in COMMANDS}
    assert all(said.values())
    assert [(words, leak) for words, text in said.items() for leak in leaks(text)] == []


@pytest.mark.promise(
    "Security: who has an account on the host, or controls the configuration", "to find secrets in command lines"
)
def test_no_secret_is_in_a_command_line_of_a_process(hunt: Hunt) -> None:
    lines = [path.read_text() for path in Path("/proc").glob("[0-9]*/cmdline") if reads(path)]
    ours = [line for line in lines if str(hunt.config) in line]
    assert ours
    assert [leak for line in ours for leak in leaks(line)] == []


@pytest.mark.promise("Security: who can read Redis", "to take restbroker's own secrets out of it")
def test_secrets_of_the_broker_are_nowhere_in_redis(hunt: Hunt) -> None:
    stored = everything_in(hunt.client)
    assert len(stored) > 50
    assert [f"{key}: {leak}" for key, text in stored for leak in found_in(text, OURS) if not DONE.search(text)] == []


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
def test_secrets_of_a_producer_are_only_where_its_job_is(hunt: Hunt) -> None:
    stored = [(key, without_arguments(text)) for key, text in everything_in(hunt.client)]
    shown = [(key, leak) for key, text in stored for leak in found_in(text, THEIRS) if not DONE.search(text)]
    jobs = re.compile(r"(queue:.*-(well|sick)|restbroker:ip:.*)")
    assert [(key, leak) for key, leak in shown if not jobs.fullmatch(key)] == []


def first_path(name: str) -> str:
    """The path at which the server is asked for this target's sake alone."""
    way, _, probe = name.removeprefix("http-").rpartition("-")
    command, asking = ("note", "probe") if name.startswith("http-") else ("register", "status")
    return f"/{way}/{probe}/{command if probe == 'well' else asking}"


def leaks(text: str) -> list[str]:
    return found_in(text, {**OURS, **THEIRS})


def reads(path: Path) -> bool:
    try:
        return bool(path.read_text())
    except OSError:
        return False


def without_arguments(text: str) -> str:
    """A stored job without its `args`: what restbroker added."""
    try:
        fields = json.loads(text)
    except ValueError:
        return text
    is_job = isinstance(fields, dict) and "jid" in fields
    return json.dumps({name: value for name, value in fields.items() if name != "args"}) if is_job else text


def everything_in(client: Client) -> list[tuple[str, str]]:
    """Every key with each value that it has."""
    found: list[tuple[str, str]] = []
    for key in names(client.command("KEYS", "*")):
        found += [(key, value.decode("utf-8", "replace")) for value in values(client, key)]
    return found


def values(client: Client, key: str) -> list[bytes]:
    match raw(client.command("TYPE", key)):
        case b"string":
            return [raw(client.command("GET", key) or b"")]
        case b"list":
            return [raw(member) for member in items(client.command("LRANGE", key, 0, -1))]
        case b"zset":
            return [raw(member) for member in items(client.command("ZRANGE", key, 0, -1))]
        case b"set":
            return [raw(member) for member in items(client.command("SMEMBERS", key))]
        case b"hash":
            return [*mapping(client.command("HGETALL", key)).values()]
        case _:
            entries = items(client.command("XRANGE", key, "-", "+")) if key == "restbroker:parked" else []
            return [raw(value) for entry in entries for value in items(items(entry)[1])]
