"""The clients of examples/clients in five languages: each file does the same against a real broker.

Python, Ruby and PHP by day; Node, whose ioredis comes from npm, and Go, which compiles for long, at night. A program
that is missing is a failure that says how to install it.
"""

import importlib
import json
import shutil
import subprocess
import sys
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_LE
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from dev.tools.pages import ROOT
from restbroker.config.secret import Secret
from restbroker.errors import ConfigError
from restbroker.store.client import StoreSettings, open_client
from tests.support.beside_ruby import Beside, beside_ruby
from tests.support.redis_server import RedisServer
from tests.support.ruby import environment
from tests.support.shared import TOKEN
from tests.support.tcp_proxy import Hold, Loss, TcpProxy
from tests.support.wait import until

HERE: Final = Path(__file__).parent
CLIENTS: Final = ROOT / "examples" / "clients"
LONGEST: Final[Mapping[str, int]] = {"py": 100, "rb": 85, "php": 82, "mjs": 91, "go": 155}
PROGRAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "py": (sys.executable,),
    "rb": ("/usr/bin/ruby",),
    "php": ("/usr/bin/php", "-d", "display_errors=stderr"),
    "mjs": ("node",),
    "go": ("go", "run"),
}
PACKAGES: Final[Mapping[str, str]] = {
    "py": "python3-redis",
    "rb": "ruby-sidekiq",
    "php": "php-cli php-nrk-predis",
    "mjs": "nodejs",
    "go": "golang-go golang-github-gomodule-redigo-dev",
}
REDIGO: Final = Path("/usr/share/gocode/src/github.com/gomodule/redigo")
IOREDIS: Final = HERE / "node_modules" / "ioredis"
LANGUAGES: Final = [
    pytest.param(name, marks=[pytest.mark.nightly] if name in {"mjs", "go"} else []) for name in PROGRAMS
]
QUERIES: Final[Mapping[str, str]] = {
    "py": "retry_on_error=x&socket_timeout=0.3",
    "rb": "timeout=0.3",
    "php": "read_write_timeout=0.3",
    "mjs": "keyPrefix=app:&autoResendUnfulfilledCommands=true&maxRetriesPerRequest=9&socketTimeout=300",
    "go": "read_timeout=300ms",
}
"""What an address may say; none of it repeats a push or ends a wait."""
OF_REDIS_PY: Final = (
    *("retry_on_timeout=true", "retry_on_error=x", "retry=3", "socket_timeout=0.01", "health_check_interval=1"),
    *("decode_responses=true", "encoding=utf-16", "protocol=3", "legacy_responses=false", "max_connections=1"),
)


@attrs.frozen
class Client:
    """One language's client, in a program that takes steps to it. `line` is the network to Redis; `folder` has all."""

    language: str
    folder: Path
    line: TcpProxy

    def run(self, *steps: tuple[object, ...], redis_url: str | None = None) -> subprocess.CompletedProcess[str]:
        """Take the steps. Whatever is printed, the token is not."""
        file = self.folder / f"drive.{self.language}"
        go = {"GOPATH": f"{self.folder}:/usr/share/gocode", "GO111MODULE": "off", "GOCACHE": f"{self.folder}/cache"}
        # Python, too, is to find what stands beside the program.
        extra = {"RESTBROKER_TOKENFILE": str(self.folder / "token"), "PYTHONSAFEPATH": "", **go}
        extra |= {"REDIS_URL": "", "LATER": redis_url or f"redis://127.0.0.1:{self.line.port}/0"}
        done = subprocess.run(
            [*PROGRAMS[self.language], str(file)],
            cwd=self.folder,
            env=environment("", extra=extra),
            input=json.dumps(steps),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert TOKEN not in done.stdout + done.stderr
        return done

    def do(self, *steps: tuple[object, ...], redis_url: str | None = None) -> list[dict[str, Any]]:
        """What each step came to: a job's id, an answer (done), or why there is none (refused, unknown)."""
        done = self.run(*steps, redis_url=redis_url)
        assert done.returncode == 0, done.stderr + done.stdout
        results: list[dict[str, Any]] = json.loads(done.stdout)
        return results


@pytest.fixture
def beside(tmp_path: Path, redis_url: str) -> Iterator[Beside]:
    """A broker that keeps the order of keys, and has answered its first probe."""
    with beside_ruby(tmp_path / "broker", redis_url) as one:
        url = f"http://127.0.0.1:{one.server.http.port}/api"
        target = {"Kind": "ejabberd", "URL": url, "Queues": ["rest"], "OrderBy": "order_key"}
        one.configure("rest", Targets={"ejabberd": target})
        one.broker()
        yield one


@pytest.fixture
def client(request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer) -> Iterator[Client]:
    """The client of the language that is the parameter."""
    language = request.param
    program = PROGRAMS[language][0]
    assert shutil.which(program), f"{program} is not installed; apt-get install {PACKAGES[language]}"
    if language == "go":
        assert REDIGO.is_dir(), f"redigo is not installed; apt-get install {PACKAGES[language]}"
    folder = tmp_path / "client"
    package = folder / "src" / "restbroker" if language == "go" else folder
    package.mkdir(parents=True)
    shutil.copy(CLIENTS / f"restbroker_client.{language}", package)
    shutil.copy(HERE / f"drive.{language}", folder)
    if language == "mjs":
        assert IOREDIS.is_dir(), "ioredis is not installed; `make nightly` installs it, or: make nightly-servers"
        (folder / "node_modules").symlink_to(IOREDIS.parent)
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "token").chmod(0o600)
    with TcpProxy(redis_server.port) as line:
        yield Client(language, folder, line)


def user(name: str, **more: object) -> dict[str, object]:
    return {"user": name, "host": "example.org", **more}


def arrived(one: Beside) -> list[str]:
    return [arrival.arguments["user"] for arrival in one.server.http.arrivals]


@pytest.mark.parametrize("client", LANGUAGES, indirect=True)
def test_jobs_are_pushed_answered_and_kept_in_order(client: Client, beside: Beside) -> None:
    keyed = {"order_key": "customer-7"}
    once = {"idempotency_key": "order-17"}
    ordered = [("push", 0, "check_account", user(f"k{n}", takes_s=0.1 if n == 0 else 0), keyed) for n in range(3)]
    results = client.do(
        ("later", 1, "check_account", user("in a second"), {}),
        *ordered,
        ("call", 20, "check_account", user("bob ☃"), {}),
        ("call", 20, "check_account", user("once"), once),
        ("call", 20, "check_account", user("once"), once),
        ("call", 20, "check_account", user("another"), once),
        ("call", 20, "check_account", user("carol", failures=-1), {"retry": False}),
    )
    later, *pushed, call, first, second, reused, refused = results
    assert all(len(job["jid"]) == 24 for job in (later, *pushed))
    assert call["done"]["outcome"] == first["done"]["outcome"] == "delivered"
    assert call["done"]["answer"] == 0
    assert (second["done"]["outcome"], second["done"]["first"]["outcome"]) == ("duplicate", "delivered")
    assert reused["code"] == "KeyReused"
    assert refused["code"] == "Refused"
    beside.wait_until_finished()
    came = arrived(beside)
    assert [name for name in came if name.startswith("k")] == ["k0", "k1", "k2"]
    assert sorted(came) == sorted(["in a second", "k0", "k1", "k2", "bob ☃", "once", "carol"])


@pytest.mark.parametrize("client", LANGUAGES, indirect=True)
def test_unknown_fate_of_a_job_is_reported_as_unknown(client: Client, beside: Beside) -> None:
    client.line.losses.append(Loss(b"lost push"))
    slow, awaited, lost = client.do(
        ("call", 1, "check_account", user("slow", takes_s=1.5), {}),
        ("wait", 20),
        ("push", 0, "check_account", user("lost push"), {"idempotency_key": "lost-1"}),
        redis_url=f"redis://127.0.0.1:{client.line.port}/0?{QUERIES[client.language]}",
    )
    assert "may still run" in slow["unknown"]
    assert awaited["done"]["outcome"] == "delivered"
    # Sidekiq's own client pushes again by itself: the key keeps the job from being done twice.
    assert "unknown" in lost or client.language == "rb"
    assert len(lost["jid"]) == 24
    until(lambda: len(arrived(beside)) > 1, "both arrive")
    beside.wait_until_finished()
    assert arrived(beside) == ["slow", "lost push"]


@pytest.mark.parametrize("query", OF_REDIS_PY)
def test_no_query_for_redis_py_queues_a_job_twice(query: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(CLIENTS)
    monkeypatch.setenv("RESTBROKER_TOKEN", TOKEN)
    module = importlib.import_module("restbroker_client")
    monkeypatch.setitem(module.OWN, "socket_timeout", 0.5)  # ten seconds are long for a test
    held = Hold(b"LPUSH", executed=True)
    with TcpProxy(int(redis_url.rpartition(":")[2].partition("/")[0])) as line:
        line.holds.append(held)
        broker = module.Restbroker(f"redis://127.0.0.1:{line.port}/0?{query}", queue="tés")
        with pytest.raises(module.Unknown, match=r"Timeout"):
            broker.push("register", {})
        held.release.set()
        assert broker.redis.llen("queue:tés") == 1
        with pytest.raises(module.Unknown, match=r"No answer .* within 0.1 s"):
            broker.wait("0a1b2c3d4e5f0a1b2c3d4e5f", 0.1)


@pytest.mark.parametrize("client", LANGUAGES, indirect=True)
def test_without_a_connection_it_says_that_nothing_was_sent(client: Client) -> None:
    for verb in ("push", "call"):
        done = client.run((verb, 5, "check_account", user("nobody"), {}), redis_url="redis://127.0.0.1:1/0")
        assert done.returncode != 0
        assert "refused" in done.stderr.lower()
        assert "may be" not in done.stderr
        assert "may still" not in done.stderr


@pytest.mark.parametrize("client", LANGUAGES, indirect=True)
def test_an_error_of_redis_while_waiting_is_unknown(client: Client, redis_url: str) -> None:
    store = open_client(StoreSettings(redis_url))
    jid = "0a1b2c3d4e5f0a1b2c3d4e5f"
    for name in (jid, ""):  # Ruby's push is not lost, so it waits for none; Go gives its job an id of its own
        store.command("SET", f"restbroker:reply:{name}", "no list")
    store.close()
    client.line.losses.append(Loss(b"lost push"))
    *_, waited = client.do(("push", 0, "check_account", user("lost push"), {"jid": jid}), ("wait", 1))
    assert "unknown" in waited


@pytest.mark.parametrize("client", LANGUAGES, indirect=True)
def test_refusal_by_redis_is_an_error_without_the_token(client: Client, redis_url: str) -> None:
    store = open_client(StoreSettings(redis_url))
    store.command("SET", "queue:rest", "no list")
    store.close()
    done = client.run(("push", 0, "register", user("bob"), {}))
    assert done.returncode != 0
    assert "WRONGTYPE" in done.stderr


@pytest.mark.parametrize("client", LANGUAGES, indirect=True)
def test_what_a_client_cannot_send_is_refused_before_a_push(client: Client, redis_url: str) -> None:
    """Time-outs and times that are no such numbers, and values that JSON cannot hold."""
    assert client.do(("odd", 0)) == [{"taken": []}]
    store = open_client(StoreSettings(redis_url))
    assert store.command("DBSIZE") == 0
    store.close()


@pytest.mark.parametrize("client", LANGUAGES, indirect=True)
def test_after_a_push_without_an_answer_a_call_says_unknown(client: Client, redis_url: str) -> None:
    store = open_client(StoreSettings(redis_url))
    texts = ("no JSON", "null", "5", '"text"', "[]", "{}", '{"outcome": "uncertain"}')
    for number, text in enumerate(texts):
        store.command("RPUSH", f"restbroker:reply:a{number}", text)
    store.close()
    waits = [("wait", 5, f"a{number}") for number in range(len(texts))]
    results = client.do(("call", 0.2, "check_account", user("bob"), {}), ("wait", 0.000001), *waits)
    assert ["unknown" in result for result in results] == [True] * len(results), results


TEXTS: Final = ("hunter2-4711", "pässwörd €", " blanks  ", "\ttab\t", "two\r\nlines\rof it", "\ufffd", "😀")
ENDS: Final = ("", "\n", "\r\n", "\r", " \n", "\x85", "\u2028\u2029", "\r\n\x1a")
EMPTY: Final = (b"", b"\n", b" \r\n", BOM_UTF8, BOM_UTF16_LE)
NO_TEXT: Final = (b"\0", b"a\0", b"\0a", b"ab\0c", b"\xff", b"\xc3", b"\xed\xa0\x80", BOM_UTF32_LE + b"a\0\0\0")
HALVES: Final = (BOM_UTF16_LE + b"a", BOM_UTF16_LE + b"\0\xd8a\0", BOM_UTF16_BE + b"\xdc\0", BOM_UTF8 * 2 + b"a")


@pytest.mark.parametrize("client", LANGUAGES, indirect=True)
def test_a_token_is_read_from_its_file_as_the_broker_reads_it(client: Client) -> None:
    texts = [text + end for text in TEXTS for end in ENDS]
    raws = [
        *EMPTY,
        *NO_TEXT,
        *HALVES,
        b"a",
        *(mark + text.encode() for text in texts for mark in (b"", BOM_UTF8)),
        *(mark + text.encode("utf-16-le") for text in texts for mark in (b"", BOM_UTF16_LE)),
        *(mark + text.encode("utf-16-be") for text in texts for mark in (b"", BOM_UTF16_BE)),
    ]
    files = [client.folder / f"token{number}" for number in range(len(raws))]
    for file, raw in zip(files, raws, strict=True):
        file.write_bytes(raw)
    missing = client.folder / "missing"
    said = client.do(*(("token", str(file)) for file in (*files, missing)))
    for file, raw, answer in zip([*files, missing], [*raws, b"missing"], said, strict=True):
        assert answer.get("said") == _of_broker(file), (raw, answer)


def _of_broker(file: Path) -> str | None:
    try:
        return Secret(path=file).reveal()
    except ConfigError:
        return None


@pytest.mark.parametrize("language", PROGRAMS)
def test_a_client_is_short_and_has_no_token(language: str) -> None:
    text = (CLIENTS / f"restbroker_client.{language}").read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST[language]
    assert "RESTBROKER_TOKENFILE" in text
