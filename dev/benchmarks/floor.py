"""The floor, which no client over the same socket gets below: a loop that posts the same request, in Python and in C.

`python -m dev.benchmarks.floor PORT CONNECTIONS REQUESTS`, request on standard input: as floor.c. It
prints the requests per second, and the CPU of one in µs. An answer that is not 2xx, or comes in pieces, ends it.
"""

import base64
import json
import resource
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import attrs

from dev.benchmarks import cores
from dev.benchmarks.surroundings import LOGIN

BARE, C = "bare Python", "C"
LANGUAGES: Final = (C, BARE) if shutil.which("cc") else (BARE,)
_SOURCE: Final = Path(__file__).with_name("floor.c")
NUMBER: Final = b"@NUMBER@"
"""In a request, it becomes a number that no other has: an event that came before is no job."""
_BASIC: Final = "Basic " + base64.b64encode(f"{LOGIN['User']}:{LOGIN['Pass']}".encode()).decode()


@attrs.frozen
class Floor:
    """What a request costs without a broker, and how many there are in a second."""

    jobs_per_s: float
    cpu_us: float


def post(
    directory: Path,
    url: str,
    body: Mapping[str, object] | str,
    requests: int,
    *,
    connections: int = 20,
    authorization: str = _BASIC,
    language: str = BARE,
    on_last: bool = True,
) -> Floor:
    """Measure in a process of its own, on the candidate's core if `on_last`. `body`: JSON, or the text of a form."""
    words = [sys.executable, "-m", "dev.benchmarks.floor"]
    if language == C:
        words = [str(directory / "floor")]
        subprocess.run(["cc", "-O2", "-o", *words, str(_SOURCE)], check=True)
    parts, content = urlsplit(url), (body if isinstance(body, str) else json.dumps(body)).encode()
    kind = "application/x-www-form-urlencoded" if isinstance(body, str) else "application/json"
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: {authorization}\r\n"
    head += f"Content-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
    words += [str(parts.port), str(connections), str(requests)]
    command = cores.pinned(words) if on_last else words
    done = subprocess.run(command, input=head.encode() + content, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{url} did not take it: {done.stderr.decode()[-500:]}")
    return Floor(*map(float, done.stdout.split()))


def main() -> None:
    """Post, and print what it took."""
    port, connections, requests = map(int, sys.argv[1:])
    request, poll = sys.stdin.buffer.read(), select.epoll()
    lines = [socket.create_connection(("127.0.0.1", port)) for _ in range(min(connections, requests))]
    known = {line.fileno(): line for line in lines}
    for number, line in known.items():
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(number, select.EPOLLIN)
        line.send(_numbered(request, number))
    sent, done, first, began_s, before_s = len(lines), 0, requests // 10, 0.0, 0.0
    while done < requests:
        for number, _ in poll.poll():
            line = known[number]
            answer = line.recv(65536)
            if answer[9:10] != b"2":
                sys.exit(f"answered with {answer[:200]!r}")
            done += 1
            if done == first:
                began_s, before_s = time.monotonic(), _used_s()
            if sent < requests:
                line.send(_numbered(request, sent + 1000) if NUMBER in request else request)
                sent += 1
    measured = done - first
    per_s, cpu_us = measured / (time.monotonic() - began_s), (_used_s() - before_s) / measured * 1e6
    sys.stdout.write(f"{per_s:.1f} {cpu_us:.3f}\n")


def _numbered(request: bytes, number: int) -> bytes:
    return request.replace(NUMBER, b"%08d" % number)


def _used_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
