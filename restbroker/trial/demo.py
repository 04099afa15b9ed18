"""`restbroker demo`: what restbroker is for, in six scenes on real parts: a Redis and a server of its own.

Called by `cli.demo`. Always holds: each number that it prints was counted, and it ends with an error if anything was
not as promised; it leaves nothing running and nothing on disk; the broker is ended before the Redis that holds its
jobs; with NO_COLOR set, TERM=dumb or stdout not a terminal, no escape sequence is written.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

import trio

from restbroker.config.values import duration_text
from restbroker.errors import RestbrokerError
from restbroker.job.json_types import Json
from restbroker.light import define, field
from restbroker.store.settings import StoreSettings
from restbroker.trial import redis_server
from restbroker.trial.brokers import COMMAND, Broker, Fleet, open_fleet, without_settings
from restbroker.trial.result import Verdict, verdict_of
from restbroker.trial.stand_in import StandInRequest
from restbroker.trial.witness import DOMAIN, QUEUE, REPLIES, job_id

TOKEN: Final = "demo-token"  # noqa: S105 - it opens a Redis that lives for the length of the demo
PASSWORD: Final = "s3cret"  # noqa: S105 - of accounts that live for the length of the demo
DATA: Final = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_SOURCE: Final = DATA["config"]["Events"]["Sources"]["ejabberd"]
_REPLY_ID: Final = "order-7"
_WAITING: Final = 3
_ACCOUNTS: Final = 2000
_MESSAGES: Final = 500
_KILL_AFTER: Final = 0.4
"""The share of the jobs that are done when the broker is killed."""
_PATIENCE_S: Final = 60.0
_WIDEST: Final = 110
_BOLD, _DIM, _GREEN, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[0m"


_OWN: Final = Path(sys.executable).with_name("restbroker")
_IS_FOUND: Final = Path(shutil.which("restbroker") or "/").resolve() == _OWN.resolve()
PROGRAM: Final = "restbroker" if _IS_FOUND else shlex.quote(str(_OWN))
"""How the user can call this restbroker: by its name where that is on PATH, else by its path."""


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
            pages, events = redis_server.free_port(), redis_server.free_port()
            config, listen = DATA["config"], f"127.0.0.1:{events}"
            async with open_fleet(settings, folder, TOKEN, signals) as fleet:
                fleet.more = {**config, "StatsPort": pages, "Events": {**config["Events"], "Listen": listen}}
                demo = _Demo(fleet, pages, events, colour)
                demo.explain(DATA["opening"])
                demo.show(f"Redis     {binary.name} on port {port}")
                demo.show(f"ejabberd  a stand-in on port {fleet.stand_in.port}")
                broker = await fleet.start()
                demo.show(f"broker    restbroker run --config {broker.config}")
                try:
                    await demo.play(stay=stay)
                    finished = True
                    if stay:
                        await demo.keep_running()
                except* (trio.Cancelled, RestbrokerError):
                    # Once a signal has come, what a scene misses is no broken promise: its wires are cut.
                    if not fleet.nursery.cancel_scope.cancel_called:
                        raise
                    demo.write("\nStopping.")
            nursery.cancel_scope.cancel()
    return 0 if finished else 128 + signal.SIGINT


@define(eq=False)
class _Demo:
    """A running demo: its parts, and what it has shown on stdout.

    Every line is there at once, so that a pipe shows the demo as it goes. A scene raises `RestbrokerError` rather than
    go on after something that is not as restbroker promises.
    """

    fleet: Fleet
    pages: int
    events: int
    colour: bool
    width: int = field(factory=lambda: min(shutil.get_terminal_size((100, 24)).columns, _WIDEST))
    pushed: int = 0
    promises_kept: int = 0
    """The number of promises that were seen to be kept."""

    def explain(self, text: str) -> None:
        """Print, in plain words, what comes next."""
        self.write(textwrap.fill(text, self.width))

    def show(self, text: str) -> None:
        """Print what was sent or answered, folded to the terminal's width."""
        for line in textwrap.wrap(text, self.width - 3, subsequent_indent="    ", break_on_hyphens=False):
            self.write("   " + (line if line.startswith("$") else self._in(_DIM, line)))

    def check(self, kept: bool, text: str) -> None:  # noqa: FBT001 - it reads as a sentence
        """Print and count that a promise was kept; raise `RestbrokerError` if it was not."""
        if not kept:
            raise RestbrokerError(f"This promise was not kept: {text}. {self.broker.last_words}")
        self.promises_kept += 1
        shown = textwrap.fill(text, self.width, initial_indent="   ok ", subsequent_indent="      ")
        self.write(shown.replace("ok", self._in(_GREEN, "ok"), 1))

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
        """The broker that runs, or ran last."""
        return self.fleet.brokers[-1]

    async def push(self, *jobs: Mapping[str, Json]) -> None:
        """Push jobs as any Sidekiq client does."""
        self.pushed += len(jobs)
        await self.fleet.witness.ask(self.fleet.witness.push, QUEUE, [json.dumps(job).encode() for job in jobs])

    async def ask(self, *words: str) -> Any:  # noqa: ANN401 - as Redis answers it
        """Send one command to Redis and return its answer; raise `StoreUnavailable`."""
        return await self.fleet.witness.ask(self.fleet.witness.redis.execute_command, *words)

    async def pop(self, queue: str) -> dict[str, Any]:
        """Take a job from this queue as a worker does, show it and return it; empty if none comes within 5 s."""
        found = await self.ask("BRPOP", f"queue:{queue}", "5")
        job = dict(json.loads(found[1] if found else "{}"))
        shown = json.dumps({name: job.get(name) for name in ("class", "args")}, ensure_ascii=False)
        self.show(f"BRPOP queue:{queue}  {shown[:-1]}, …}}")
        return job

    async def restbroker(self, *arguments: str, until: str) -> str:
        """Run a command of restbroker on a terminal, show what a person sees there, and return it.

        It is run again and again until it shows `until`, and only the last time is shown. Raise `RestbrokerError`
        after a minute.
        """
        environ = {**without_settings(), "RESTBROKER_CONFIG": str(self.broker.config)}
        environ |= {"COLUMNS": str(self.width - 3), "LINES": "40"} | ({} if self.colour else {"TERM": "dumb"})
        shown = ""
        with trio.move_on_after(_PATIENCE_S):
            while until not in shown:
                self.fleet.require_alive()
                await trio.sleep(0.1)
                shown = await trio.to_thread.run_sync(_on_terminal, [*COMMAND, *arguments], environ)
        self.show(f"$ restbroker {shlex.join(arguments)}")
        for line in shown.rstrip().splitlines():
            # Lines with escape sequences fit; a count of their characters would not say so.
            folded = line if "\x1b" in line else textwrap.fill(line, self.width - 3, break_on_hyphens=False)
            self.write(textwrap.indent(folded, "   "))
        if until not in shown:
            raise RestbrokerError(f"It did not show {until!r}. {self.broker.last_words}")
        return shown

    def requests(self, command: str, since: int) -> list[StandInRequest]:
        """Show the requests for this command after the first `since` requests, and return them."""
        found = [request for request in self.fleet.stand_in.requests[since:] if request.command == command]
        for request in found:
            self.show(f"server got  {describe(request)}")
        return found

    async def finish(self) -> None:
        """Wait until no job is waiting or in progress, at most a minute; the check that follows decides."""
        with trio.move_on_after(_PATIENCE_S):
            while await self.unfinished():
                self.fleet.require_alive()
                await trio.sleep(0.02)

    async def unfinished(self) -> int:
        """Return how many jobs are neither done nor dead."""
        return await self.fleet.witness.ask(self.fleet.witness.count_unfinished, QUEUE)

    async def play(self, *, stay: bool) -> None:
        """Play the scenes; without `stay`, end the broker too; print a summary."""
        began_s = time.monotonic()
        numbers = {"reply_id": _REPLY_ID, "waiting": _WAITING, "accounts": _ACCOUNTS, "messages": _MESSAGES}
        scenes = (self.answer, self.outage, self.kill, self.edit, self.event, self.operator)
        for number, (scene, told) in enumerate(zip(scenes, DATA["scenes"], strict=True), start=1):
            self.write("\n" + self._in(_BOLD, f"{number}. {told['title']}"))
            self.explain(told["text"].format_map(numbers))
            await scene()
        if not stay:
            await self.fleet.stop()
            self.check(True, "asked to stop (SIGTERM), restbroker ended with 0")
        self.write(f"\nAll as promised: {self.promises_kept} checks in {duration_text(time.monotonic() - began_s)}.")
        if not stay:
            self.explain(DATA["closing"])

    async def keep_running(self) -> None:
        """Print what can be tried and where the pages are, and show what the server gets, until cancelled."""
        url, job = self.fleet.settings.url, json.dumps(_job("by-hand", "check_account", {"user": "mary"}))
        by_hand = [sys.executable, "-c", DATA["lpush"], url]
        if client := shutil.which("redis-cli") or shutil.which("valkey-cli"):
            by_hand = [Path(client).name, "-u", url, "lpush"]
        named = {"config": self.broker.config, "program": PROGRAM, "password": PASSWORD}
        named |= {"by_hand": shlex.join([*by_hand, f"queue:{QUEUE}", job])}
        self.write(DATA["stay"].format_map(named | {"pages": self._in(_BOLD, f"http://127.0.0.1:{self.pages}/")}))
        seen = len(self.fleet.stand_in.requests)
        while True:
            for request in self.fleet.stand_in.requests[seen:]:
                self.show(describe(request))
                seen += 1
            self.broker.require_alive()
            await trio.sleep(0.1)

    async def answer(self) -> None:
        """Push a job with a reply id as an application does, and check what arrives and what comes back."""
        job = _job("5f0c8a1e9b7d3f2461a0c5e8", "register", {"user": "john", "password": PASSWORD}, _REPLY_ID)
        self.show(f"LPUSH queue:{QUEUE}  {json.dumps(job)}")
        await self.push(job)
        await self.finish()
        found = self.requests("register", 0)
        registered = [request.status for request in found] == [200]
        self.check(registered, f"john is registered; restbroker filled in the host, {DOMAIN}")
        reply = await self.pop(REPLIES)
        answer, *names = reply.get("args", [None])
        is_right = (reply.get("class"), names) == ("Add", [_REPLY_ID]) and "successfully registered" in str(answer)
        self.check(is_right, f"the answer to {_REPLY_ID} came back as a job that the application's own worker takes")

    async def outage(self) -> None:
        """Take the server down while jobs come, and bring it back; check that all wait and are then executed once."""
        await self.fleet.stand_in.go_down()
        before = len(self.fleet.stand_in.requests)
        users = [f"user{number}" for number in range(1, _WAITING + 1)]
        await self.push(*(_job(user, "register", {"user": user, "password": PASSWORD}) for user in users))
        # It takes long enough for every job to have been tried against a closed port, had the broker been careless.
        await self.restbroker("targets", until="No connection")
        all_wait = await self.unfinished() == _WAITING and await self.number("ZCARD", "retry") == 0
        self.check(all_wait, f"all {_WAITING} jobs wait; none is lost, failed or has used up a try")
        await self.fleet.stand_in.come_up()
        self.explain("The server is started again; nobody touches restbroker.")
        await self.finish()
        registered = sorted(str(request.arguments["user"]) for request in self.requests("register", before))
        self.check(registered == users, f"all {_WAITING} are now done, each once")

    async def kill(self) -> None:
        """Kill the broker while it works on many jobs, start it again, and count what became of them."""
        numbers = range(_ACCOUNTS + _MESSAGES)
        messages = numbers[:: len(numbers) // _MESSAGES]
        accounts = sorted({*numbers} - {*messages})
        jobs = [_counted(number, "message" if number in messages else "account") for number in numbers]
        await self.push(*jobs)
        stand_in, victim = self.fleet.stand_in, self.broker
        with trio.move_on_after(_PATIENCE_S):
            while len(stand_in.done) < _KILL_AFTER * len(jobs):
                self.fleet.require_alive()
                await trio.sleep(0.002)
        victim.process.kill()
        await victim.process.wait()
        self.fleet.brokers.remove(victim)
        self.show(f"$ kill -9 {victim.process.pid}    ({len(stand_in.done):,} of {len(jobs):,} jobs were done)")
        await self.fleet.start()
        self.show("$ restbroker run    (as systemd would start it again)")
        await self.finish()
        made, sent = await self.count(accounts), await self.count(messages)
        self.check(
            made.ok == _ACCOUNTS and not made.lost,
            f"{made.ok:,} of {_ACCOUNTS:,} accounts are made, {made.lost} lost; the server was asked twice for "
            f"{made.duplicated}, those that were on their way",
        )
        self.check(
            not (sent.lost or sent.unfinished or sent.duplicated),
            f"of {_MESSAGES} messages {sent.lost} are lost and {sent.duplicated} sent twice; {sent.dead}, which were "
            "on their way, are kept for a person to decide",
        )

    async def count(self, numbers: Sequence[int]) -> Verdict:
        """Return what became of the jobs with these numbers, by what the server got and Redis has."""
        witness, jobs = self.fleet.witness, {*map(job_id, numbers)}
        statuses = {job: [request.status for request in self.fleet.stand_in.jobs[job]] for job in jobs}
        places = await witness.ask(witness.count_locations, QUEUE)
        dead = jobs & {*await witness.ask(witness.dead_jobs)}
        return verdict_of(jobs, jobs, statuses, {job: places[job] for job in jobs & {*places}}, dead)

    async def edit(self) -> None:
        """Push a job with a mistake in it, correct it as an operator does, and check that it is then done."""
        before = len(self.fleet.stand_in.requests)
        await self.push(_job("carols-job", "register", {"username": "carol", "password": PASSWORD}))
        await self.restbroker("explain", "carols-job", until="BadArgument")
        tried = self.requests("register", before)
        self.check(len(tried) == 1, "what the server refuses for good is not tried again, but kept with the reason")
        edit = ("dead", "edit", "carols-job", "--rename", "username=user", "--retry", "--wait", "--yes")
        await self.restbroker(*edit, until="1 job done")
        done = self.requests("register", before + 1)
        self.check([request.status for request in done] == [200], "carol is registered")

    async def event(self) -> None:
        """Post an event as a real server does, and check that it is a job."""
        event, path = DATA["event"], _SOURCE["Path"]
        headers = event["headers"] | {"Authorization": f"Bearer {_SOURCE['Secret']}"}
        self.show(f"POST {path}  {event['body']}")
        status, _ = await trio.to_thread.run_sync(_http, "POST", self.events, path, event["body"].encode(), headers)
        job = await self.pop(_SOURCE["Queue"])
        got = job.get("args", [{}])[0]
        self.check(
            (status, got.get("from"), got.get("body")) == (202, "ann@example.org/res-ann", "Grüße <b>"),
            "it is a job for the application's worker; the server got its 202 only after Redis had that job",
        )

    async def operator(self) -> None:
        """Show what an operator sees, and check its numbers and that the pages answer."""
        processed, failed = await self.number("GET", "stat:processed"), await self.number("GET", "stat:failed")
        dead = await self.number("ZCARD", "dead")
        # A process reports its state with each heartbeat, every two or three seconds.
        shown = await self.restbroker("stats", until=" 0/20 ")
        adds_up = processed - failed + dead == self.pushed and str(processed) in shown.replace(",", "")
        done = f"{processed - failed:,} are done (processed less failed)"
        self.check(adds_up, f"of the {self.pushed:,} jobs pushed {done} and {dead} dead: none is missing")
        status, page = await trio.to_thread.run_sync(_http, "GET", self.pages, "/", b"", {})
        self.check(status == 200 and "<title>" in page, "the pages answer")

    async def number(self, *words: str) -> int:
        return int(await self.ask(*words) or 0)


def _job(jid: str, command: str, arguments: Json, *reply_id: str, **members: Json) -> dict[str, Json]:
    """Return what an application has to push at least."""
    return {"class": "Restbroker", "jid": jid, "args": [command, arguments, TOKEN, *reply_id], **members}


def _counted(number: int, kind: str) -> dict[str, Json]:
    """Return a job whose id is on its request, too, so that the server's requests can be counted by job."""
    form, jid = DATA["jobs"][kind], job_id(number)
    arguments = {name: value.format(number=number) for name, value in form["arguments"].items()}
    return _job(jid, form["command"], arguments, traceparent=jid)


def _on_terminal(words: Sequence[str], environ: Mapping[str, str]) -> str:
    """Run a program on a terminal of its own, and return all that it shows."""
    try:
        ours, its = os.openpty()
    except OSError:  # no terminals here, as in a sandbox without /dev/pts: it prints what it prints into a pipe
        ours, its = os.pipe()
    printed = b""
    with subprocess.Popen(words, env=environ, stdin=subprocess.DEVNULL, stdout=its, stderr=its):
        os.close(its)
        with contextlib.suppress(OSError):  # Linux's way to say that nobody has the terminal open any more
            while more := os.read(ours, 4096):
                printed += more
    os.close(ours)
    return printed.decode(errors="replace").replace("\r\n", "\n").expandtabs()


def _http(method: str, port: int, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
    """Send a request to a port of this machine, and return the status and text of the answer."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def describe(request: StandInRequest) -> str:
    """Return one request in a line, its password masked."""
    shown = {name: "…" if name == "password" else value for name, value in request.arguments.items()}
    return f"POST /api/{request.command} {json.dumps(shown, ensure_ascii=False)} → {request.status}"
