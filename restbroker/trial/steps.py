"""What the demo does and checks, step by step, and what its steps have at hand.

That is a printer, and Redis, the stand-in server and a real broker with methods to use them; producers push jobs, the
server gets requests, and some things go wrong. Called by `demo`, in the order of `STEPS`. Always holds: a step raises
`RestbrokerError` rather than go on after something that is not as restbroker promises; with NO_COLOR set, TERM=dumb or
stdout not a terminal, no escape sequence is written.
"""

import contextlib
import json
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from restbroker.config.values import duration_text
from restbroker.errors import RestbrokerError
from restbroker.job.json_types import Json
from restbroker.trial.brokers import COMMAND, Broker, Fleet, without_settings
from restbroker.trial.stand_in import Request, StandIn
from restbroker.trial.workload import DOMAIN, QUEUE, REPLIES, USER

TOKEN: Final = "demo-token"  # noqa: S105 - it opens a Redis that lives for the length of the demo
PASSWORD: Final = "s3cret"  # noqa: S105 - of accounts that live for the length of the demo
_REPLY_ID = "message-7"
_WAITING = 5
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


async def from_php(environment: Environment) -> None:
    """Push a job as a PHP application does, and check that it arrives."""
    environment.printer.step("An application pushes a job into the queue, as any Sidekiq client does")
    job = await environment.register("john")
    environment.printer.show(f"LPUSH queue:{QUEUE} {json.dumps(job)}")
    request = await environment.next_request("register", 0)
    environment.check(request.status == 200, "john is registered")
    environment.check(request.arguments.get("host") == DOMAIN, f"the broker filled in the host, {DOMAIN}")


async def from_ruby(environment: Environment) -> None:
    """Push a job with a reply id, and check the reply to it."""
    environment.printer.step("Ruby sends a message and wants to know what became of it")
    message = {"type": "chat", "from": USER, "to": f"john@{DOMAIN}", "subject": "", "body": "Hi"}
    shown = ", ".join(f"'{name}' => '{value}'" for name, value in message.items())
    environment.printer.show(f"Sidekiq::Client.push('class' => 'Restbroker', 'queue' => '{QUEUE}',")
    environment.printer.show(f"  'args' => ['send_message', {{ {shown} }}, TOKEN, '{_REPLY_ID}'])")
    await environment.push("send_message", {**message}, TOKEN, _REPLY_ID)
    await environment.next_request("send_message", 0)
    found = await environment.ask("BRPOP", f"queue:{REPLIES}", "5")
    payload = found[1] if found else b"{}"
    environment.printer.show(f"BRPOP queue:{REPLIES}  {payload.decode()}")
    reply = json.loads(payload)
    is_right = (reply.get("class"), reply.get("args")) == ("Add", ["0", _REPLY_ID])
    environment.check(is_right, f"the server's answer, 0, came back as a job for {REPLIES}")


async def from_shell(environment: Environment) -> None:
    """Push jobs with `restbroker enqueue`, without and with `--wait`, and check what arrives and what is printed."""
    environment.printer.step("The same from a shell; with --wait the server's answer is printed")
    before, online = len(environment.stand_in.requests), environment.stand_in.online
    code, _ = await environment.restbroker("enqueue", "check_account", "user=john")
    environment.check(code == 0, "the job is queued")
    request = await environment.next_request("check_account", before)
    environment.check(request.arguments == {"user": "john", "host": DOMAIN}, "the server was asked about john")
    code, answer = await environment.restbroker("enqueue", "--wait", "connected_users_number")
    right = code == 0 and str(online) in answer
    environment.check(right, f"the server's own number was printed: {online} users are online")


async def server_down(environment: Environment) -> None:
    """Take the server down while jobs come, and bring it back; check that all wait and are then executed once."""
    environment.printer.step("The server goes down, and jobs keep coming")
    await environment.stand_in.go_down()
    before, processed = len(environment.stand_in.requests), await _number(environment, "GET", "stat:processed")
    users = [f"user{number}" for number in range(1, _WAITING + 1)]
    for user in users:
        await environment.register(user)
    # Long enough for every job to have been tried against a closed port, had the broker been careless.
    await trio.sleep(1)
    unfinished = await _number(environment, "GET", "stat:processed") == processed
    failed = await _number(environment, "ZCARD", "dead") + await _number(environment, "ZCARD", "retry")
    environment.check(unfinished and not failed, f"all {_WAITING} jobs wait; none is lost, failed or has used up a try")
    await environment.stand_in.come_up()
    environment.printer.show("The server is back.")
    await environment.until(
        lambda: len(environment.stand_in.requests) >= before + _WAITING, "the waiting jobs are executed"
    )
    await _wait_for(environment, processed + _WAITING, "GET", "stat:processed")
    registered = sorted(str(request.arguments["user"]) for request in environment.requests("register", before))
    environment.check(registered == users, f"all {_WAITING} were then executed, each once: {', '.join(registered)}")


async def wrong_token(environment: Environment) -> None:
    """Push a job with a wrong token, and check that it is dead and not executed."""
    environment.printer.step("Someone pushes a job with a wrong token")
    before = len(environment.stand_in.requests)
    job = await environment.register("mallory", "x", "guessed")
    await _wait_for(environment, 1, "ZCARD", "dead")
    dead = [json.loads(member) for member in await environment.ask("ZRANGE", "dead", "0", "-1")]
    environment.check([entry["jid"] for entry in dead] == [job["jid"]], "the job is in Sidekiq's dead set")
    environment.printer.show(f"{dead[0]['error_class']}: {dead[0]['error_message']}")
    environment.check("guessed" not in dead[0]["error_message"], "the reason is there, without the token")
    environment.check(not environment.requests("register", before), "the server never heard of it")


async def show_stats(environment: Environment) -> None:
    """Show what an operator sees, and check its numbers."""
    environment.printer.step("What the operator sees")
    processed = await _number(environment, "GET", "stat:processed")
    # A process reports its state with each heartbeat, every two or three seconds; the first had nothing to report.
    code, shown = await environment.restbroker("stats", until=lambda stdout: "down" not in stdout)
    lines = [line.split("\t") for line in shown.splitlines()]
    counted = ["total", "processed", str(processed)] in lines
    environment.check(code == 0 and counted, f"all {processed} jobs are counted, the dead one among them")
    told = any(line[0] == "process" and "up" in line for line in lines)
    environment.check(told, "the process and the state of its target are shown")


async def stop(environment: Environment) -> None:
    """End the broker, and check that it ends with 0 and leaves no job behind."""
    environment.printer.step("The broker is asked to stop (SIGTERM)")
    await environment.broker.stop()
    environment.check(True, "it ended with 0")
    left = await _number(environment, "LLEN", f"queue:{QUEUE}")
    held = await environment.ask("KEYS", "restbroker:ip:*")
    environment.check(left == 0 and not held, "no job is left behind, neither queued nor in progress")


Step = Callable[[Environment], Awaitable[None]]
STEPS: tuple[Step, ...] = (from_php, from_ruby, from_shell, server_down, wrong_token, show_stats)


async def _wait_for(environment: Environment, wanted: int, *words: str) -> None:
    """Wait until a command's answer is at least `wanted`, at most 5 s; the check that follows decides."""
    with trio.move_on_after(5):
        while await _number(environment, *words) < wanted:  # noqa: ASYNC110 - another process changes it
            await trio.sleep(0.02)


async def _number(environment: Environment, *words: str) -> int:
    return int(await environment.ask(*words) or 0)
