"""Posts messages as MongooseIM's event pusher does, over ten connections.

`benchmarks.webhook` runs `python -m benchmarks.poster PORT RATE SECONDS` in a process of its own. Always holds: at a
rate, each message has its moment, and how long it took counts from that on, whatever held it up; at the rate 0 each
connection posts as soon as it has its answer. An answer that is not 202 ends it.
"""

import json
import socket
import sys
import threading
import time
from typing import Final

CONNECTIONS: Final = 10
"""MongooseIM's workers, where nobody says otherwise."""
PATH: Final = "/events/mim"


def post(port: int, rate_per_s: int, lasts_s: float) -> list[float]:
    """How long each took, in milliseconds."""
    began_s = time.monotonic() + 0.1
    took_ms: list[list[float]] = [[] for _ in range(CONNECTIONS)]
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            _post(port, number, rate_per_s, began_s, began_s + lasts_s, took_ms[number])
        except (OSError, RuntimeError) as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return [one for each in took_ms for one in each]


def _post(port: int, number: int, rate_per_s: int, began_s: float, until_s: float, took_ms: list[float]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        count = number
        while True:
            due_s = began_s + count / rate_per_s if rate_per_s else time.monotonic()
            if due_s >= until_s:
                return
            if (left_s := due_s - time.monotonic()) > 0:
                time.sleep(left_s)
            line.sendall(_request(port, count))
            answer = line.recv(65536)
            if not answer.startswith(b"HTTP/1.1 202"):
                raise RuntimeError(f"a message was answered with {answer.splitlines()[:1]}")
            took_ms.append((time.monotonic() - due_s) * 1000)
            count += CONNECTIONS


def _request(port: int, count: int) -> bytes:
    form = f"author=alice&server=localhost&receiver=bob&message=Hello%2C+Bob%21+This+is+message+{count}"
    head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(form)}\r\n"
    return f"{head}content-type: application/x-www-form-urlencoded\r\n\r\n{form}".encode()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python -m benchmarks.poster PORT RATE SECONDS")
    sys.stdout.write(json.dumps(post(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
