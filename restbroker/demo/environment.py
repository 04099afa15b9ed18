"""All parts that the demo runs: Redis, the stand-in server, a real broker, and methods to use and observe them.

`demo.demo` sets it up, `demo.steps` use it. Always holds: the broker is a child process as users run it, sees none
of the user's RESTBROKER_* settings, and is ended before the Redis that holds its jobs.
"""

import json
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import trio

from restbroker.config.values import duration_text
from restbroker.demo import redis
from restbroker.demo.printer import Printer
from restbroker.demo.scenario import QUEUE, Scenario, StandIn
from restbroker.errors import RestbrokerError
from restbroker.job.json_types import Json
from restbroker.standins.broker import COMMAND, end, last_words, spawn, without_settings
from restbroker.standins.server import ReceivedCommand, Server
from restbroker.store import queues
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.store.replies import Reply

REPLIES = "rest_replies"
TOKEN = "demo-token"  # noqa: S105 - it opens a Redis that lives for the length of the demo
_STOP_TIMEOUT_S = 30.0


def _program() -> str:
    """Return how the user can call this restbroker: by its name where that is on PATH, else by its path."""
    own, found = Path(sys.executable).parent / "restbroker", shutil.which("restbroker")
    is_found = found is not None and Path(found).resolve() == own.resolve()
    return "restbroker" if is_found or not own.exists() else shlex.quote(str(own))


PROGRAM: Final = _program()


@attrs.frozen
class Environment:
    """The parts of a running demo. `broker` is the child process, `log` what it prints."""

    scenario: Scenario
    printer: Printer
    environ: Mapping[str, str]
    config: Path
    redis_port: int
    store: Connection
    stand_in: StandIn
    server: Server
    broker: trio.Process
    log: Path

    async def push(self, arguments: list[Json], **more: Json) -> dict[str, Json]:
        """Push a job with these `args`, as any Sidekiq client does, and return its payload; `more`: further fields."""
        now_s = time.time()
        job: dict[str, Json] = {
            "class": "Restbroker",
            "args": arguments,
            "jid": secrets.token_hex(12),
            "queue": QUEUE,
            "retry": True,
            "created_at": now_s,
            "enqueued_at": now_s,
            **more,
        }
        await self.store.call(queues.push, QUEUE, [json.dumps(job).encode()])
        return job

    async def ask(self, *words: str) -> Reply:
        """Send one command to Redis and return its answer; raise `StoreRefused` or `StoreUnavailable`."""
        return await self.store.call(Client.command, *words)

    async def restbroker(self, *arguments: str, until: Callable[[str], bool] = lambda _: True) -> tuple[int, str]:
        """Run a command of restbroker, show it and all that it printed, and return its exit code and its stdout.

        It is run again and again for at most 8 s until `until`, called with its stdout, returns True; only the last
        time is shown. Cancelling kills it.
        """
        deadline_s = trio.current_time() + 8
        while True:
            done = await trio.run_process(
                [*COMMAND, *arguments], env=dict(self.environ), capture_stdout=True, capture_stderr=True, check=False
            )
            stdout = done.stdout.decode()
            if until(stdout) or trio.current_time() > deadline_s:
                break
            await trio.sleep(0.2)
        self.printer.show(f"$ {PROGRAM} " + " ".join(arguments))
        self.printer.show(stdout + done.stderr.decode())
        return done.returncode, stdout

    async def until(self, question: Callable[[], bool], promise: str, timeout_s: float = 30.0) -> None:
        """Wait until `question` returns True; raise `RestbrokerError` after `timeout_s` seconds or if the broker ends.

        `promise` is named in the error.
        """
        with trio.move_on_after(timeout_s):
            while self.broker.poll() is None:
                if question():
                    return
                await trio.sleep(0.02)
        ended = self.broker.poll() is not None
        why = (
            f"The broker ended with code {self.broker.returncode}"
            if ended
            else f"Nothing arrived within {duration_text(timeout_s)}"
        )
        raise RestbrokerError(
            f"{why}, so this could not be confirmed: {promise}.\nThe broker's last lines:\n{last_words(self.log)}"
        )

    async def next_request(self, command: str, since: int) -> ReceivedCommand:
        """Wait for a request for this command after the first `since` requests, show it and return it."""

        def found() -> list[ReceivedCommand]:
            return [request for request in self.stand_in.requests[since:] if request.command == command]

        await self.until(lambda: bool(found()), f"the server is asked to {command}")
        self.printer.show(f"→ the server got  {describe(found()[0])}")
        return found()[0]

    def check(self, kept: bool, text: str) -> None:  # noqa: FBT001 - it reads as a sentence
        """Print that a promise was kept; raise `RestbrokerError` if it was not."""
        if not kept:
            raise RestbrokerError(
                f"This promise was not kept: {text}.\nThe broker's last lines:\n{last_words(self.log)}"
            )
        self.printer.confirm(text)


def describe(request: ReceivedCommand) -> str:
    """Return one request in a line, its password masked."""
    shown = {name: "…" if name == "password" else value for name, value in request.arguments.items()}
    return f"{request.request} {json.dumps(shown, ensure_ascii=False)}  and answered {request.status}"


@asynccontextmanager
async def open_environment(
    scenario: Scenario, printer: Printer, environ: Mapping[str, str], folder: Path
) -> AsyncIterator[Environment]:
    """Start every part in `folder` for the block, and end it again; raise `RestbrokerError` if one does not start."""
    password = secrets.token_hex(8)
    stand_in = scenario.stand_in(scenario.login, password)
    server = Server(stand_in.handle)
    binary = redis.find_server(environ)
    async with trio.open_nursery() as nursery:
        redis_port = await nursery.start(redis.serve, binary, folder)
        await nursery.start(server.run)
        config = folder / "env.json"
        config.write_text(
            json.dumps(_config(redis_port, scenario.settings(server.port, scenario.login, password)), indent=2) + "\n"
        )
        config.chmod(0o600)
        own = {**without_settings(environ), "RESTBROKER_CONFIG": str(config)}
        log = folder / "broker.log"
        async with aclosing(redis.connection(redis_port)) as store, _running(config, log, own) as broker:
            printer.write(f"Redis     {binary} on port {redis_port}")
            printer.write(f"{scenario.name:<10}a stand-in on port {server.port}")
            printer.write(f"broker    {PROGRAM} run --config {config}")
            yield Environment(
                scenario,
                printer,
                own,
                config=config,
                redis_port=redis_port,
                store=store,
                stand_in=stand_in,
                server=server,
                broker=broker,
                log=log,
            )
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _running(config: Path, log: Path, environ: Mapping[str, str]) -> AsyncIterator[trio.Process]:
    broker = await spawn(config, log, environ)
    try:
        yield broker
    finally:
        await end(broker, _STOP_TIMEOUT_S)


def _config(redis_port: int, server: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "RedisURL": f"redis://127.0.0.1:{redis_port}/0",
        **server,
        "ResponseQueue": REPLIES,
        "Token": TOKEN,
        "Stats": False,
    }
