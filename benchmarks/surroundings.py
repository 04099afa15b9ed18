"""The Redis and the HTTP server that every measurement runs against: Debian's, on loopback, one worker each.

Always holds: nothing is written to disk by Redis, and the HTTP server answers every POST with 200: at once (`/api`),
after 50 ms (`/slow`), or at once and with 500 to one in ten at random (`/flaky`). How many requests it has answered is
its own count (nginx's stub_status), so that all candidates are measured by one clock; of each failure it writes two
bytes.
"""

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from benchmarks import cores
from benchmarks.processes import started

SLOW_MS = 50
_NGINX = """
load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  keepalive_requests 1000000000;
  default_type application/json;
  client_max_body_size 2m;
  split_clients $request_id $fails {{ 10% 1; * 0; }}
  log_format dot '.';
  server {{
    listen 127.0.0.1:{port} backlog=511;
    location /api/ {{ return 200 '0'; }}
    location /slow/ {{ echo_read_request_body; echo_sleep {slow_s}; echo_exec /api/; }}
    location /chunked/ {{ echo_read_request_body; echo -n 0; }}
    location /flaky/ {{
      error_page 418 =500 @failed;
      if ($fails) {{ return 418; }}
      return 200 '0';
    }}
    # Not "return 500": nginx closes the connection behind that, and the reconnects would be measured too.
    location @failed {{ access_log {directory}/failed.log dot; return 200 '0'; }}
    location /count {{ stub_status; }}
  }}
}}
"""


@attrs.define
class Surroundings:
    """`redis` and `stub_url` are ready for use; `directory` is for the logs of what is measured."""

    directory: Path
    redis: "redis.Redis"
    redis_port: int
    redis_url: str
    stub_port: int
    stub_pid: int
    _looks: int = 0

    @property
    def stub_url(self) -> str:
        """Commands are posted to this URL, a slash and their name."""
        return f"http://127.0.0.1:{self.stub_port}/api"

    def answered(self) -> int:
        """How many requests the server has answered so far; looking does not count."""
        self._looks += 1
        with urllib.request.urlopen(f"http://127.0.0.1:{self.stub_port}/count") as answer:
            lines = answer.read().decode().splitlines()
        return int(lines[2].split()[2]) - self._looks

    def succeeded(self) -> int:
        """How many of them not with 500."""
        answered = self.answered()
        return answered - (self.directory / "failed.log").stat().st_size // 2

    def redis_cpu_s(self) -> float:
        """The CPU time of Redis so far."""
        found = self.redis.info("cpu")
        return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


@contextmanager
def surroundings(directory: Path) -> Iterator[Surroundings]:
    """Starts both servers; returns when they answer."""
    redis_port, stub_port = free_port(), free_port()
    (directory / "nginx.conf").write_text(_NGINX.format(directory=directory, port=stub_port, slow_s=SLOW_MS / 1000))
    # Without this, nginx as root would drop its rights and could not write to the directory.
    directory.chmod(0o755)
    store = ["redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
    stub = ["nginx", "-c", str(directory / "nginx.conf"), "-e", str(directory / "nginx.log")]
    with ExitStack() as stack:
        stack.enter_context(started(store, {}, directory / "redis.out"))
        stub_pid = stack.enter_context(started(stub, {}, directory / "nginx.out")).pid
        wait_for(redis_port)
        wait_for(stub_port)
        # It counts what was pushed: by itself redis-py sends a push again over a new connection.
        client = redis.Redis(port=redis_port, retry=Retry(NoBackoff(), 0))
        stack.callback(client.close)
        url = f"redis://127.0.0.1:{redis_port}/0"
        yield Surroundings(directory, client, redis_port, url, stub_port, stub_pid)


@attrs.frozen
class Posted:
    """What wrk sends: the same request again and again."""

    url: str
    arguments: Mapping[str, object]
    authorization: str = "Basic YWRtaW5AZXhhbXBsZS5vcmc6YmVuY2g="


def ceiling(posted: Posted, connections: int, directory: Path, duration_s: int = 3) -> float:
    """Requests per second that wrk reaches on one thread, sending what a job sends."""
    script = directory / "post.lua"
    script.write_text(
        'wrk.method = "POST"\n'
        f"wrk.body = [[{json.dumps(posted.arguments)}]]\n"
        'wrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.headers["Authorization"] = "{posted.authorization}"\n',
        encoding="utf-8",
    )
    command = cores.on_last(["wrk", "-t1", f"-c{connections}", f"-d{duration_s}s", "-s", str(script), posted.url])
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in printed:
        raise SystemExit(f"wrk got errors from {posted.url}:\n{printed}")
    return next(float(line.split()[1]) for line in printed.splitlines() if line.startswith("Requests/sec"))


def free_port() -> int:
    """One of 127.0.0.1 on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(port: int) -> None:
    """Returns when somebody listens on it; raises `ConnectionRefusedError` after 10 s."""
    deadline_s = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)
        else:
            return
