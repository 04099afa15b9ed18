"""`restbroker demo`: the main job end to end, on a Redis and a server of its own, step by step.

Called by `cli.demo`. Producers push jobs, the server gets requests, and some things go wrong. Always holds: it ends
with an error if anything was not as promised, and leaves nothing running and nothing on disk; the broker is ended
before the Redis that holds its jobs; with NO_COLOR set, TERM=dumb or stdout not a terminal, no escape sequence is
written.
"""

import contextlib
import json
import os
import secrets
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from restbroker.config.values import duration_text
from restbroker.errors import RestbrokerError
from restbroker.job.json_types import Json
from restbroker.store.settings import StoreSettings
from restbroker.trial import redis_server
from restbroker.trial.brokers import COMMAND, Broker, Fleet, open_fleet, without_settings
from restbroker.trial.stand_in import Request
from restbroker.trial.witness import DOMAIN, QUEUE, REPLIES, USER

TOKEN: Final = "demo-token"  # noqa: S105 - it opens a Redis that lives for the length of the demo
PASSWORD: Final = "s3cret"  # noqa: S105 - of accounts that live for the length of the demo
_REPLY_ID = "message-7"
_WAITING = 5
_PATIENCE_S: Final = 30.0
_BOLD, _DIM, _GREEN, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[0m"


def _program() -> str:
    """Return how the user can call this restbroker: by its name where that is on PATH, else by its path."""
    own, found = Path(sys.executable).parent / "restbroker", shutil.which("restbroker")
    is_found = found is not None and Path(found).resolve() == own.resolve()
    return "restbroker" if is_found or not own.exists() else shlex.quote(str(own))


PROGRAM: Final = _program()


def run(*, stay: bool) -> int:
    """Run the demo and return the exit code; `stay` keeps everything up until SIGINT or SIGTERM.

    Raise a group of `RestbrokerError` when a part does not start or a promise is not kept.
    """
    return trio.run(partial(_main, stay=stay))


async def _main(*, stay: bool) -> int:
    colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and sys.stdout.isatty()
    finished = False
    with (
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
        tempfile.TemporaryDirectory(prefix="restbroker-demo-") as name,
    ):
        binary, folder = redis_server.find_server(os.environ), Path(name)
        async with trio.open_nursery() as nursery:
            port: int = await nursery.start(redis_server.serve, binary, folder)
            settings = StoreSettings(f"redis://127.0.0.1:{port}/0")
            async with open_fleet(settings, folder, TOKEN, signals) as fleet:
                demo = _Demo(fleet, colour)
                demo.write(f"Redis     {binary} on port {port}")
                demo.write(f"ejabberd  a stand-in on port {fleet.stand_in.port}")
                broker = await fleet.start()
                demo.write(f"broker    {PROGRAM} run --config {broker.config}")
                try:
                    await demo.run_steps(stay=stay)
                    finished = True
                    if stay:
                        await demo.keep_running()
                except trio.Cancelled:
                    demo.write("\nStopping.")
                    raise
            nursery.cancel_scope.cancel()
    return 0 if finished else 128 + signal.SIGINT


@attrs.define(eq=False)
class _Demo:
    """A running demo: its parts, and what it has shown on stdout.

    Every line is there at once, so that a pipe shows the demo as it goes. A step raises `RestbrokerError` rather than
    go on after something that is not as restbroker promises.
    """

    fleet: Fleet
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
        environ = {**without_settings(), "RESTBROKER_CONFIG": str(self.broker.config)}
        deadline_s = trio.current_time() + 8
        while True:
            done = await trio.run_process(
                [*COMMAND, *arguments], env=environ, capture_stdout=True, capture_stderr=True, check=False
            )
            stdout = done.stdout.decode()
            if until(stdout) or trio.current_time() > deadline_s:
                break
            await trio.sleep(0.2)
        self.show(f"$ {PROGRAM} " + " ".join(arguments))
        self.show(stdout + done.stderr.decode())
        return done.returncode, stdout

    def requests(self, command: str, since: int) -> list[Request]:
        """Return the requests for this command after the first `since` requests."""
        return [request for request in self.fleet.stand_in.requests[since:] if request.command == command]

    async def next_request(self, command: str, since: int) -> Request:
        """Wait for a request for this command after the first `since` requests, show it and return it.

        Raise `RestbrokerError` after 30 s, or if the broker ends.
        """
        with trio.move_on_after(_PATIENCE_S):
            while not (found := self.requests(command, since)):
                self.fleet.require_alive()
                await trio.sleep(0.02)
            self.show(f"→ the server got  {describe(found[0])}")
            return found[0]
        raise RestbrokerError(f"The server was not asked to {command} within 30 s. {self.broker.last_words}")

    def check(self, kept: bool, text: str) -> None:  # noqa: FBT001 - it reads as a sentence
        """Print that a promise was kept; raise `RestbrokerError` if it was not."""
        if not kept:
            raise RestbrokerError(f"This promise was not kept: {text}. {self.broker.last_words}")
        self.confirm(text)

    async def run_steps(self, *, stay: bool) -> None:
        """Run the steps; without `stay`, end the broker too, and print a summary."""
        began_s = time.monotonic()
        steps = (self.from_php, self.from_ruby, self.from_shell, self.server_down, self.wrong_token, self.show_stats)
        for step in steps:
            await step()
        if not stay:
            await self.stop()
        took_s = time.monotonic() - began_s
        self.write(f"\nAll as promised: {self.promises_kept} checks in {duration_text(took_s)}.")
        if not stay:
            self.write(
                "Next: `make demo STAY=1` (installed: `restbroker demo --stay`) keeps it running; "
                "then README, Your first job."
            )

    async def keep_running(self) -> None:
        """Print what can be tried, and show what arrives at the server, until cancelled."""
        lines = [
            f"export RESTBROKER_CONFIG={shlex.quote(str(self.broker.config))}",
            f"printf {PASSWORD} | {PROGRAM} enqueue register user=mary password=-",
            f"{PROGRAM} enqueue --wait check_account user=mary",
            f"{PROGRAM} stats",
            f"{PROGRAM} dead",
        ]
        client = shutil.which("redis-cli") or shutil.which("valkey-cli")
        if client is not None:
            job = json.dumps({"args": ["status", {}, TOKEN], "retry": True})
            lines.append(f"{Path(client).name} -u {self.fleet.settings.url} lpush queue:{QUEUE} {shlex.quote(job)}")
        shown = "\n".join(f"  {line}" for line in lines)
        self.write(f"\nEverything stays up until Ctrl-C. In another terminal:\n\n{shown}\n\nWhat the server gets:")
        seen = len(self.fleet.stand_in.requests)
        while True:
            for request in self.fleet.stand_in.requests[seen:]:
                self.show(describe(request))
                seen += 1
            self.broker.require_alive()
            await trio.sleep(0.1)

    async def from_php(self) -> None:
        """Push a job as a PHP application does, and check that it arrives."""
        self.step("An application pushes a job into the queue, as any Sidekiq client does")
        job = await self.register("john")
        self.show(f"LPUSH queue:{QUEUE} {json.dumps(job)}")
        request = await self.next_request("register", 0)
        self.check(request.status == 200, "john is registered")
        self.check(request.arguments.get("host") == DOMAIN, f"the broker filled in the host, {DOMAIN}")

    async def from_ruby(self) -> None:
        """Push a job with a reply id, and check the reply to it."""
        self.step("Ruby sends a message and wants to know what became of it")
        message = {"type": "chat", "from": USER, "to": f"john@{DOMAIN}", "subject": "", "body": "Hi"}
        shown = ", ".join(f"'{name}' => '{value}'" for name, value in message.items())
        self.show(f"Sidekiq::Client.push('class' => 'Restbroker', 'queue' => '{QUEUE}',")
        self.show(f"  'args' => ['send_message', {{ {shown} }}, TOKEN, '{_REPLY_ID}'])")
        await self.push("send_message", {**message}, TOKEN, _REPLY_ID)
        await self.next_request("send_message", 0)
        found = await self.ask("BRPOP", f"queue:{REPLIES}", "5")
        payload = found[1] if found else b"{}"
        self.show(f"BRPOP queue:{REPLIES}  {payload.decode()}")
        reply = json.loads(payload)
        is_right = (reply.get("class"), reply.get("args")) == ("Add", ["0", _REPLY_ID])
        self.check(is_right, f"the server's answer, 0, came back as a job for {REPLIES}")

    async def from_shell(self) -> None:
        """Push jobs with `restbroker enqueue`, without and with `--wait`, and check what arrives and is printed."""
        self.step("The same from a shell; with --wait the server's answer is printed")
        before, online = len(self.fleet.stand_in.requests), self.fleet.stand_in.online
        code, _ = await self.restbroker("enqueue", "check_account", "user=john")
        self.check(code == 0, "the job is queued")
        request = await self.next_request("check_account", before)
        self.check(request.arguments == {"user": "john", "host": DOMAIN}, "the server was asked about john")
        code, answer = await self.restbroker("enqueue", "--wait", "connected_users_number")
        right = code == 0 and str(online) in answer
        self.check(right, f"the server's own number was printed: {online} users are online")

    async def server_down(self) -> None:
        """Take the server down while jobs come, and bring it back; check that all wait and are then executed once."""
        self.step("The server goes down, and jobs keep coming")
        await self.fleet.stand_in.go_down()
        before, processed = len(self.fleet.stand_in.requests), await self.number("GET", "stat:processed")
        users = [f"user{number}" for number in range(1, _WAITING + 1)]
        for user in users:
            await self.register(user)
        # Long enough for every job to have been tried against a closed port, had the broker been careless.
        await trio.sleep(1)
        unfinished = await self.number("GET", "stat:processed") == processed
        failed = await self.number("ZCARD", "dead") + await self.number("ZCARD", "retry")
        self.check(unfinished and not failed, f"all {_WAITING} jobs wait; none is lost, failed or has used up a try")
        await self.fleet.stand_in.come_up()
        self.show("The server is back.")
        await self.wait_for(processed + _WAITING, "GET", "stat:processed")
        registered = sorted(str(request.arguments["user"]) for request in self.requests("register", before))
        self.check(registered == users, f"all {_WAITING} were then executed, each once: {', '.join(registered)}")

    async def wrong_token(self) -> None:
        """Push a job with a wrong token, and check that it is dead and not executed."""
        self.step("Someone pushes a job with a wrong token")
        before = len(self.fleet.stand_in.requests)
        job = await self.register("mallory", "x", "guessed")
        await self.wait_for(1, "ZCARD", "dead")
        dead = [json.loads(member) for member in await self.ask("ZRANGE", "dead", "0", "-1")]
        self.check([entry["jid"] for entry in dead] == [job["jid"]], "the job is in Sidekiq's dead set")
        self.show(f"{dead[0]['error_class']}: {dead[0]['error_message']}")
        self.check("guessed" not in dead[0]["error_message"], "the reason is there, without the token")
        self.check(not self.requests("register", before), "the server never heard of it")

    async def show_stats(self) -> None:
        """Show what an operator sees, and check its numbers."""
        self.step("What the operator sees")
        processed = await self.number("GET", "stat:processed")
        # A process reports its state with each heartbeat, every two or three seconds; the first had nothing to report.
        code, shown = await self.restbroker("stats", until=lambda stdout: "down" not in stdout)
        lines = [line.split("\t") for line in shown.splitlines()]
        counted = ["total", "processed", str(processed)] in lines
        self.check(code == 0 and counted, f"all {processed} jobs are counted, the dead one among them")
        told = any(line[0] == "process" and "up" in line for line in lines)
        self.check(told, "the process and the state of its target are shown")

    async def stop(self) -> None:
        """End the broker, and check that it ends with 0 and leaves no job behind."""
        self.step("The broker is asked to stop (SIGTERM)")
        await self.broker.stop()
        self.check(True, "it ended with 0")
        left = await self.number("LLEN", f"queue:{QUEUE}")
        held = await self.ask("KEYS", "restbroker:ip:*")
        self.check(left == 0 and not held, "no job is left behind, neither queued nor in progress")

    async def wait_for(self, wanted: int, *words: str) -> None:
        """Wait until a command's answer is at least `wanted`, at most 30 s; the check that follows decides."""
        with trio.move_on_after(_PATIENCE_S):
            while await self.number(*words) < wanted:  # noqa: ASYNC110 - another process changes it
                await trio.sleep(0.02)

    async def number(self, *words: str) -> int:
        return int(await self.ask(*words) or 0)


def describe(request: Request) -> str:
    """Return one request in a line, its password masked."""
    shown = {name: "…" if name == "password" else value for name, value in request.arguments.items()}
    return f"POST /api/{request.command} {json.dumps(shown, ensure_ascii=False)}  and answered {request.status}"
