"""A proxy that makes a way longer: `python -m benchmarks.delay PORT MS` stands before 127.0.0.1:PORT.

It prints the port that it listens on. Half of the time is added on the way there and half on the way back, to every
byte; how many bytes are under way is not limited. The scenario `redis` puts it before Redis.
"""

import asyncio
import contextlib
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def delayed(port: int, round_trip_ms: float) -> Iterator[int]:
    """Yields the port of a proxy in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.delay", str(port), str(round_trip_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(next(iter(process.stdout or ())))
        finally:
            process.terminate()


async def _serve(port: int, one_way_s: float) -> None:
    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_carry(reader, there_writer, one_way_s), _carry(there_reader, writer, one_way_s))

    server = await asyncio.start_server(join, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, one_way_s: float) -> None:
    """Passes on what comes, each piece so much later, and the end too."""
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due_s, piece = await pieces.get()
            await asyncio.sleep(due_s - time.monotonic())
            if not piece:
                break
            writer.write(piece)
        writer.close()

    delivering = asyncio.ensure_future(deliver())
    with contextlib.suppress(OSError):
        while piece := await reader.read(2**18):
            pieces.put_nowait((time.monotonic() + one_way_s, piece))
    pieces.put_nowait((time.monotonic() + one_way_s, b""))
    await delivering


def main() -> None:
    """Runs until it is told to end."""

    # epoll's time-outs are whole milliseconds, which is more than is asked for here; select's are microseconds.
    def loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(selectors.SelectSelector())

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_serve(int(sys.argv[1]), float(sys.argv[2]) / 2000))


if __name__ == "__main__":
    main()
