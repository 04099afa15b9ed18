"""The Redis and the HTTP servers that every measurement runs against: one Redis and one nginx, on loopback.

Always holds: Redis writes nothing to disk. nginx answers as each kind of server does, and writes a byte and a newline
for each job that it answered with success, so that all candidates are measured by one count; probes are not counted.
"""

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

import attrs
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from dev.benchmarks.processes import cpu_s, started
from tests.support.ports import free_port
from tests.transport.authority import Authority, authority

SLOW_MS: Final = 50
COMMAND: Final = "set_presence"
TEXT: Final = "hello " * 20
LOGIN: Final = {"User": "admin@example.org", "Pass": "bench"}
_HEAD: Final = Path(__file__).with_name("nginx.conf")
_SERVER: Final = """
  server {{
    listen {listen};
    {probes}
    location {path} {{ access_log {log} dot; {answer} }}
    # Not "return 500": nginx closes the connection behind that, and the reconnects would be measured too.
    location @failed {{ access_log off; return 200 '0'; }}
  }}
"""
_FAILS: Final = "error_page 418 =500 @failed; if ($fails) { return 418; } "
_PROSODY: Final = '{"kind":"iq","type":"result","from":"example.org","version":{"name":"Prosody","version":"0.12.3"}}'
_MONGOOSEIM: Final = (
    '{"data":{"checkAuth":{"authStatus":"AUTHORIZED","authType":"ADMIN","domain":null},'
    '"server":{"status":{"statusCode":"RUNNING","version":"6.8.0"}},"account":{"countUsers":5},'
    '"stanza":{"sendMessage":{"id":"1795190233512000"}}}}'
)


@attrs.frozen
class Server:
    """A kind of server. Jobs arrive at `path`, below `base`, and are answered with `status` and `body`.

    `header`: a line of nginx's that adds one to each answer; `by_socket`: it is reached by its unix socket.
    """

    kind: str
    base: str
    path: str
    status: int
    body: str
    command: str
    arguments: Mapping[str, object]
    probes: str = ""
    target: Mapping[str, object] = MappingProxyType({"Domain": "example.org"})
    tls: bool = False
    wait_s: float = 0
    fails: bool = False
    header: str = ""
    by_socket: bool = False

    def answer(self) -> str:
        """Return nginx's directives."""
        if not self.wait_s:
            return f"{self.header}{_FAILS * self.fails}return {self.status} '{self.body}';"
        return f"echo_read_request_body; echo_sleep {self.wait_s}; echo_status {self.status}; echo -n '{self.body}';"


_EJABBERD: Final = Server(
    "ejabberd",
    "/api",
    f"/api/{COMMAND}",
    200,
    "0",
    COMMAND,
    {"user": "john", "host": "example.org", "status": TEXT},
    "location /api/ { return 200 '0'; }",
)
KINDS: Final[Mapping[str, Server]] = MappingProxyType(
    {
        "ejabberd": _EJABBERD,
        "https": attrs.evolve(_EJABBERD, tls=True),
        "prosody": Server(
            "prosody-rest",
            "/rest",
            "= /rest",
            202,
            "",
            "message",
            {"to": "john@example.org", "body": TEXT},
            f"location /rest/ {{ return 200 '{_PROSODY}'; }}",
        ),
        "mongooseim": Server(
            "mongooseim",
            "/api/graphql",
            "/api/graphql",
            200,
            _MONGOOSEIM,
            "stanza.sendMessage",
            {"from": "jane@example.org", "to": "john@example.org", "body": TEXT},
        ),
        "openfire": Server(
            "openfire-rest",
            "/plugins/restapi/v1",
            "/plugins/restapi/v1/users",
            201,
            "",
            "create_user",
            {"username": "john", "password": "s3cret", "name": "John Doe", "email": "john@example.org"},
            "location /plugins/restapi/v1/system/statistics/ "
            """{ return 200 '{"localSessions":3,"clusterSessions":3}'; }""",
            {"Auth": {"Basic": {**LOGIN, "User": "admin"}}},
        ),
        "http": Server(
            "http",
            "/",
            "= /hook",
            200,
            "{}",
            "call",
            {"user": "john", "text": TEXT},
            "location = /health { return 200 '{}'; }",
            {"Options": {"AllowPrivate": True, "Commands": {"call": {"Path": "hook"}}, "Probe": {"Path": "health"}}},
        ),
    }
)
SERVERS: Final[Mapping[str, Server]] = MappingProxyType(
    {
        **KINDS,
        "slow": attrs.evolve(_EJABBERD, wait_s=SLOW_MS / 1000),
        "flaky": attrs.evolve(_EJABBERD, fails=True),
        "differing": attrs.evolve(_EJABBERD, header="add_header X-Request-Id $request_id; "),
        "socket": attrs.evolve(_EJABBERD, by_socket=True),
    }
)


@attrs.frozen
class Surroundings:
    """`directory` is for the logs of what is measured; `ports` has one for each of `SERVERS`."""

    directory: Path
    redis: "redis.Redis"
    redis_pid: int
    redis_url: str
    ports: Mapping[str, int]

    def url(self, server: str) -> str:
        """Return the URL of its API."""
        found = SERVERS[server]
        if found.by_socket:
            return f"http+unix://{quote(str(_socket(self.directory, server)), safe='')}{found.base}"
        return f"http{'s' * found.tls}://127.0.0.1:{self.ports[server]}{found.base}"

    def target(self, server: str) -> dict[str, object]:
        """Return the target of env.json, but for its queues."""
        tls = {"TLS": {"CAFile": str(Authority(self.directory).ca)}} if SERVERS[server].tls else {}
        known = {"Kind": SERVERS[server].kind, "URL": self.url(server), "Auth": {"Basic": LOGIN}, **tls}
        return {**known, **SERVERS[server].target}

    def answered(self, server: str) -> int:
        """Return how many jobs it has answered with success so far."""
        return _count(self.directory, server).stat().st_size // len(".\n")

    def redis_cpu_s(self) -> float:
        """Return the CPU time of Redis so far."""
        return cpu_s(self.redis_pid)

    def commands(self) -> int:
        """Return how many commands Redis has executed so far, those inside of scripts too; each look is one itself."""
        return sum(int(found["calls"]) for found in self.redis.info("commandstats").values())


@contextmanager
def surroundings(directory: Path) -> Iterator[Surroundings]:
    """Start Redis and nginx; return when they answer."""
    redis_port, ports = free_port(), {name: free_port() for name in SERVERS}
    authority(directory)
    # Without this, nginx as root would drop its rights and could not write to the directory.
    directory.chmod(0o755)
    servers = [_block(directory, name, port) for name, port in ports.items()]
    head = _HEAD.read_text(encoding="utf-8").replace("@DIRECTORY@", str(directory))
    config = directory / "nginx.conf"
    config.write_text("".join([head, *servers, "}\n"]), encoding="utf-8")
    store = ["redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
    nginx = ["nginx", "-c", str(config), "-e", str(directory / "nginx.log")]
    with ExitStack() as stack:
        redis_pid = stack.enter_context(started(store, directory / "redis.out")).pid
        stack.enter_context(started(nginx, directory / "nginx.out"))
        for port in (redis_port, *ports.values()):
            wait_for(port)
        # By itself redis-py would send again over a new connection.
        client = redis.Redis(port=redis_port, retry=Retry(NoBackoff(), 0))
        stack.callback(client.close)
        yield Surroundings(directory, client, redis_pid, f"redis://127.0.0.1:{redis_port}/0", ports)


def wait_for(port: int, patience_s: float = 10) -> None:
    """Return when something listens on it; raise `ConnectionRefusedError` if that takes too long."""
    deadline_s = time.monotonic() + patience_s
    while not is_open(port):
        if time.monotonic() > deadline_s:
            raise ConnectionRefusedError(f"nothing listens on port {port}")
        time.sleep(0.05)


def is_open(port: int) -> bool:
    """Return whether something listens on it."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def _block(directory: Path, name: str, port: int) -> str:
    server, (certificate, key) = SERVERS[name], Authority(directory).pair("server")
    listen = f"127.0.0.1:{port} {'ssl ' * server.tls}backlog=511"
    if server.by_socket:
        listen += f"; listen unix:{_socket(directory, name)} backlog=511"
    if server.tls:
        listen += f"; ssl_certificate {certificate}; ssl_certificate_key {key}"
    return _SERVER.format(
        listen=listen,
        probes=server.probes,
        path=server.path,
        log=_count(directory, name),
        answer=server.answer(),
    )


def _socket(directory: Path, server: str) -> Path:
    return directory / f"{server}.sock"


def _count(directory: Path, server: str) -> Path:
    return directory / f"{server}.count"
