"""Servers for `benchmarks.four` and `benchmarks.kinds`, one nginx: each answers as ejabberd, Prosody, … does.

Always holds: how many jobs each has answered is counted by nginx, a line for each; questions of probes are not counted.
A server that is down has a port on which nobody listens.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

import attrs

from benchmarks.processes import started
from benchmarks.surroundings import free_port, wait_for
from tests.transport.authority import Authority, authority

_BASIC: Final = {"User": "admin@example.org", "Pass": "bench"}
_TEXT: Final = "hello " * 20

_HEAD: Final = """
load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
daemon off;
worker_processes 1;
pid {directory}/four.pid;
error_log {directory}/four.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  keepalive_requests 1000000000;
  keepalive_timeout 3600;
  default_type application/json;
  log_format line '.';
"""
_PROSODY: Final = '{"kind":"iq","type":"result","from":"example.org","version":{"name":"Prosody","version":"0.12.3"}}'
_MONGOOSEIM: Final = (
    '{"data":{"checkAuth":{"authStatus":"AUTHORIZED","authType":"ADMIN","domain":null},'
    '"server":{"status":{"statusCode":"RUNNING","version":"6.8.0"}},"account":{"countUsers":5},'
    '"stanza":{"sendMessage":{"id":"1795190233512000"}}}}'
)


@attrs.frozen
class Kind:
    """One server. `path`: of jobs, whose answer is `status` and `body`; `probes`: other locations, whole."""

    kind: str
    url: str
    path: str
    status: int
    body: str
    command: str
    arguments: Mapping[str, object]
    probes: str = ""
    more: Mapping[str, object] = MappingProxyType({"Domain": "example.org"})
    tls: bool = False


_EJABBERD: Final = Kind(
    "ejabberd",
    "/api",
    "/api/set_presence",
    200,
    "0",
    "set_presence",
    {"user": "john", "host": "example.org", "status": _TEXT, "n": 1},
    "location /api/ { return 200 '0'; }",
)
FOUR: Final = ("ejabberd", "prosody", "mongooseim", "openfire")
KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "ejabberd": _EJABBERD,
        "https": attrs.evolve(_EJABBERD, tls=True),
        "prosody": Kind(
            "prosody-rest",
            "/rest",
            "= /rest",
            202,
            "",
            "message",
            {"to": "john@example.org", "body": _TEXT},
            f"location /rest/ {{ return 200 '{_PROSODY}'; }}",
        ),
        "mongooseim": Kind(
            "mongooseim",
            "/api/graphql",
            "/api/graphql",
            200,
            _MONGOOSEIM,
            "stanza.sendMessage",
            {"from": "jane@example.org", "to": "john@example.org", "body": _TEXT},
        ),
        "openfire": Kind(
            "openfire-rest",
            "/plugins/restapi/v1",
            "/plugins/restapi/v1/users",
            201,
            "",
            "create_user",
            {"username": "john", "password": "s3cret", "name": "John Doe", "email": "john@example.org"},
            "location /plugins/restapi/v1/system/statistics/ "
            """{ return 200 '{"localSessions":3,"clusterSessions":3}'; }""",
            {"Auth": {"Basic": {**_BASIC, "User": "admin"}}},
        ),
        "http": Kind(
            "http",
            "/",
            "= /hook",
            200,
            "{}",
            "call",
            {"user": "john", "text": _TEXT},
            "location = /health { return 200 '{}'; }",
            {
                "Options": {
                    "AllowPrivate": True,
                    "Commands": {"call": {"Path": "hook"}},
                    "Probe": {"Path": "health"},
                }
            },
        ),
    }
)


@attrs.frozen
class Four:
    """The servers, for one pace of each. `ports` has one for each that is up or down."""

    directory: Path
    ports: Mapping[str, int]

    def target(self, name: str, concurrency: int) -> dict[str, object]:
        """The target of env.json."""
        kind = KINDS[name]
        tls = {"TLS": {"CAFile": str(Authority(self.directory).ca)}} if kind.tls else {}
        return {
            "Kind": kind.kind,
            "URL": f"http{'s' * kind.tls}://127.0.0.1:{self.ports[name]}{kind.url}",
            "Auth": {"Basic": _BASIC},
            "Queues": [name],
            "Concurrency": concurrency,
            **tls,
            **kind.more,
        }

    def answered(self, name: str) -> int:
        """How many jobs it has answered."""
        return _log(self.directory, name).stat().st_size // len(".\n")


@contextmanager
def servers(directory: Path, waits_s: Mapping[str, float | None]) -> Iterator[Four]:
    """Starts those that are named: each answers after so long; None: it is down."""
    directory.mkdir()
    # Without this, nginx as root would drop its rights and could not write to the directory.
    directory.chmod(0o755)
    if any(KINDS[name].tls for name in waits_s):
        authority(directory)
    ports = {name: free_port() for name in waits_s}
    up = {name: wait_s for name, wait_s in waits_s.items() if wait_s is not None}
    blocks = [_server(directory, name, ports[name], wait_s) for name, wait_s in up.items()]
    config = directory / "four.conf"
    config.write_text("".join([_HEAD.format(directory=directory), *blocks, "}\n"]))
    command = ["nginx", "-c", str(config), "-e", str(directory / "four.log")]
    with started(command, {}, directory / "four.out"):
        for name in up:
            wait_for(ports[name])
        yield Four(directory, ports)


def _server(directory: Path, name: str, port: int, wait_s: float) -> str:
    kind = KINDS[name]
    counted = f"access_log {_log(directory, name)} line;"
    certificate, key = Authority(directory).pair("server")
    tls = f"ssl backlog=511; ssl_certificate {certificate}; ssl_certificate_key {key}"
    return (
        f"  server {{ listen 127.0.0.1:{port} {tls if kind.tls else 'backlog=511'}; {kind.probes}\n"
        f"    location {kind.path} {{ {counted} {_ANSWER[bool(wait_s)](kind, wait_s)} }}\n  }}\n"
    )


def _at_once(kind: Kind, _: float) -> str:
    return f"return {kind.status} '{kind.body}';"


def _later(kind: Kind, wait_s: float) -> str:
    said = f"echo -n '{kind.body}';" if kind.body else ""
    return f"echo_read_request_body; echo_sleep {wait_s}; echo_status {kind.status}; {said}"


_ANSWER: Final[Mapping[bool, Callable[[Kind, float], str]]] = MappingProxyType({False: _at_once, True: _later})


def _log(directory: Path, name: str) -> Path:
    return directory / f"{name}.count"
