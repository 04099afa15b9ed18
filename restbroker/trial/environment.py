"""What the demo has at hand: a printer, and Redis, the stand-in server and a real broker, with methods to use them.

`demo` sets it up, `steps` use it. Always holds: with NO_COLOR set, TERM=dumb or stdout not a terminal, no escape
sequence is written.
"""

import contextlib
import json
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from restbroker.config.values import duration_text
from restbroker.errors import RestbrokerError
from restbroker.job.json_types import Json
from restbroker.trial.brokers import COMMAND, Broker, Fleet, without_settings
from restbroker.trial.stand_in import Request, StandIn
from restbroker.trial.workload import QUEUE

TOKEN: Final = "demo-token"  # noqa: S105 - it opens a Redis that lives for the length of the demo
PASSWORD: Final = "s3cret"  # noqa: S105 - of accounts that live for the length of the demo
_BOLD, _DIM, _GREEN, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[0m"


def _program() -> str:
    """Return how the user can call this restbroker: by its name where that is on PATH, else by its path."""
    own, found = Path(sys.executable).parent / "restbroker", shutil.which("restbroker")
    is_found = found is not None and Path(found).resolve() == own.resolve()
    return "restbroker" if is_found or not own.exists() else shlex.quote(str(own))


PROGRAM: Final = _program()


@attrs.define
class Printer:
    """A writer to stdout; every line is there at once, so that a pipe shows the demo as it goes."""

    colour: bool
    steps: int = 0
    promises_kept: int = 0
    """The number of promises that were seen to be kept."""

    def step(self, title: str) -> None:
        """Print the title of a step, numbered."""
        self.steps += 1
        self.write(f"\n{self._in(_BOLD, f'{self.steps}. {title}')}")

    def show(self, text: str) -> None:
        """Print what was sent, answered or printed, line by line."""
        for line in text.splitlines():
            self.write(f"   {self._in(_DIM, line.expandtabs(14))}")

    def confirm(self, text: str) -> None:
        """Print what was promised and has been checked, and count it."""
        self.promises_kept += 1
        self.write(f"   {self._in(_GREEN, 'ok')} {text}")

    def write(self, text: str) -> None:
        """Print a line as it is."""
        # A reader that went away (`| head`) is no reason to leave servers running or to end with a traceback.
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self.colour else text


def open_printer(environ: Mapping[str, str]) -> Printer:
    """Return a printer with colours, if stdout is a terminal that shows them and NO_COLOR is not set."""
    wanted = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return Printer(wanted and sys.stdout.isatty())


@attrs.frozen
class Environment:
    """The parts of a running demo."""

    printer: Printer
    fleet: Fleet
    stand_in: StandIn
    redis_port: int

    @property
    def broker(self) -> Broker:
        """The broker, which is the only one."""
        return self.fleet.brokers[0]

    async def push(self, *arguments: Json) -> dict[str, Json]:
        """Push a job with these `args`, as any Sidekiq client does, and return its payload."""
        now_s, jid = time.time(), secrets.token_hex(12)
        job: dict[str, Json] = {"class": "Restbroker", "args": arguments, "jid": jid, "queue": QUEUE, "retry": True}
        job |= {"created_at": now_s, "enqueued_at": now_s}
        await self.fleet.witness.ask(self.fleet.witness.push, QUEUE, [json.dumps(job).encode()])
        return job

    async def register(self, user: str, password: str = PASSWORD, token: str = TOKEN) -> dict[str, Json]:
        """Push a job that makes this account, and return its payload."""
        return await self.push("register", {"user": user, "password": password}, token)

    async def ask(self, *words: str) -> Any:  # noqa: ANN401 - as Redis answers it
        """Send one command to Redis and return its answer; raise `StoreUnavailable`."""
        return await self.fleet.witness.ask(self.fleet.witness.redis.execute_command, *words)

    async def restbroker(self, *arguments: str, until: Callable[[str], bool] = lambda _: True) -> tuple[int, str]:
        """Run a command of restbroker, show it and all that it printed, and return its exit code and its stdout.

        It is run again and again for at most 8 s until `until`, called with its stdout, returns True; only the last
        time is shown. Cancelling kills it.
        """
        environ = {**without_settings(self.fleet.environ), "RESTBROKER_CONFIG": str(self.broker.config)}
        deadline_s = trio.current_time() + 8
        while True:
            done = await trio.run_process(
                [*COMMAND, *arguments], env=environ, capture_stdout=True, capture_stderr=True, check=False
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
            while not question():
                self.fleet.require_alive()
                await trio.sleep(0.02)
            return
        why = f"Nothing arrived within {duration_text(timeout_s)}"
        raise RestbrokerError(f"{why}, so this could not be confirmed: {promise}. {self.broker.last_words}")

    def requests(self, command: str, since: int) -> list[Request]:
        """Return the requests for this command after the first `since` requests."""
        return [request for request in self.stand_in.requests[since:] if request.command == command]

    async def next_request(self, command: str, since: int) -> Request:
        """Wait for a request for this command after the first `since` requests, show it and return it."""
        await self.until(lambda: bool(self.requests(command, since)), f"the server is asked to {command}")
        found = self.requests(command, since)[0]
        self.printer.show(f"→ the server got  {describe(found)}")
        return found

    def check(self, kept: bool, text: str) -> None:  # noqa: FBT001 - it reads as a sentence
        """Print that a promise was kept; raise `RestbrokerError` if it was not."""
        if not kept:
            raise RestbrokerError(f"This promise was not kept: {text}. {self.broker.last_words}")
        self.printer.confirm(text)


def describe(request: Request) -> str:
    """Return one request in a line, its password masked."""
    shown = {name: "…" if name == "password" else value for name, value in request.arguments.items()}
    return f"POST /api/{request.command} {json.dumps(shown, ensure_ascii=False)}  and answered {request.status}"
