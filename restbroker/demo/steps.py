"""The demo's story: what a producer does, what the server sees, what happens when things go wrong. Every claim is
checked.

Called by `demo.demo`, in the order of `STORY`. Always holds: a step raises `RestbrokerError` rather than go on after
something that is not as restbroker promises.
"""

import json
from collections.abc import Awaitable, Callable

import trio

from restbroker.demo.stage import DOMAIN, QUEUE, REPLIES, TOKEN, Stage
from restbroker.store.replies import integer, items, raw
from restbroker.trial.broker import end
from restbroker.trial.ejabberd import Arrival

_REPLY_ID = "message-7"
_WAITING = 5


async def from_php(stage: Stage) -> None:
    """A job as a PHP application pushes it."""
    stage.voice.step("An application pushes a job into the queue, as any Sidekiq client does")
    job = await stage.push(["register", {"user": "john", "password": "s3cret"}, TOKEN])
    stage.voice.show(f"LPUSH queue:{QUEUE} {json.dumps(job)}")
    arrival = await stage.arrival("register", 0)
    stage.promise(arrival.status == 200, "john is registered")
    stage.promise(arrival.arguments.get("host") == DOMAIN, f"the broker filled in the host, {DOMAIN}")


async def from_ruby(stage: Stage) -> None:
    """A job with arguments as pairs and a reply id, and the reply to it."""
    stage.voice.step("Ruby sends a message and wants to know what became of it")
    pairs = [["type", "chat"], ["from", f"admin@{DOMAIN}"], ["to", f"john@{DOMAIN}"], ["subject", ""], ["body", "Hi"]]
    stage.voice.show(f"Sidekiq::Client.push('class' => 'Restbroker', 'queue' => '{QUEUE}',")
    stage.voice.show(f"  'args' => ['send_message', {json.dumps(pairs)}, TOKEN, '{_REPLY_ID}'])")
    await stage.push(["send_message", pairs, TOKEN, _REPLY_ID])
    await stage.arrival("send_message", 0)
    found = await stage.ask("BRPOP", f"queue:{REPLIES}", "5")
    payload = raw(items(found)[1]) if found else b"{}"
    stage.voice.show(f"BRPOP queue:{REPLIES}  {payload.decode()}")
    reply = json.loads(payload)
    told = (reply.get("class"), reply.get("args"))
    stage.promise(told == ("Add", ["0", _REPLY_ID]), f"the server's answer, 0, came back as a job for {REPLIES}")


async def from_shell(stage: Stage) -> None:
    """The same from a shell, without and with waiting for the answer."""
    stage.voice.step("The same from a shell; with --wait the server's answer is printed")
    before = len(stage.ejabberd.arrivals)
    code, _ = await stage.restbroker("enqueue", "check_account", "user=john")
    stage.promise(code == 0, "the job is queued")
    arrival = await stage.arrival("check_account", before)
    stage.promise(arrival.arguments == {"user": "john", "host": DOMAIN}, "the server was asked about john")
    code, answer = await stage.restbroker("enqueue", "--wait", "connected_users_number")
    right = code == 0 and str(stage.ejabberd.online) in answer
    stage.promise(right, f"the server's own number was printed: {stage.ejabberd.online} users are online")


async def server_down(stage: Stage) -> None:
    """The server goes away with jobs to do, and comes back."""
    stage.voice.step("The server goes down, and jobs keep coming")
    await stage.server.go_down()
    before, processed = len(stage.ejabberd.arrivals), await _number(stage, "GET", "stat:processed")
    users = [f"user{number}" for number in range(1, _WAITING + 1)]
    for user in users:
        await stage.push(["register", {"user": user, "password": "s3cret"}, TOKEN])
    # Long enough for every job to have been tried against a closed port, had the broker been careless.
    await trio.sleep(1)
    unfinished = await _number(stage, "GET", "stat:processed") == processed
    given_up = await _number(stage, "ZCARD", "dead") + await _number(stage, "ZCARD", "retry")
    stage.promise(unfinished and not given_up, f"all {_WAITING} jobs wait; none is lost, failed or has used up a try")
    await stage.server.come_up()
    stage.voice.show("The server is back.")
    await stage.until(lambda: len(stage.ejabberd.arrivals) >= before + _WAITING, "the waiting jobs are executed")
    await _reaches(stage, processed + _WAITING, "GET", "stat:processed")
    registered = sorted(str(arrival.arguments["user"]) for arrival in _registers(stage, before))
    stage.promise(registered == users, f"all {_WAITING} were then executed, each once: {', '.join(registered)}")


async def wrong_token(stage: Stage) -> None:
    """A job that must not be executed."""
    stage.voice.step("Somebody pushes a job with a wrong token")
    before = len(stage.ejabberd.arrivals)
    job = await stage.push(["register", {"user": "mallory", "password": "x"}, "guessed"])
    await _reaches(stage, 1, "ZCARD", "dead")
    parked = [json.loads(raw(member)) for member in items(await stage.ask("ZRANGE", "dead", "0", "-1"))]
    stage.promise([entry["jid"] for entry in parked] == [job["jid"]], "the job is parked in Sidekiq's dead set")
    stage.voice.show(f"{parked[0]['error_class']}: {parked[0]['error_message']}")
    stage.promise("guessed" not in parked[0]["error_message"], "the reason is written there, without the token")
    stage.promise(not _registers(stage, before), "the server never heard of it")


async def figures(stage: Stage) -> None:
    """What an operator sees."""
    stage.voice.step("What the operator sees")
    processed = await _number(stage, "GET", "stat:processed")
    # A process tells of itself with each beat, every two or three seconds: its first told of nothing yet.
    code, shown = await stage.restbroker("stats", until=lambda stdout: "closed" not in stdout)
    lines = [line.split("\t") for line in shown.splitlines()]
    counted = ["total", "processed", str(processed)] in lines
    stage.promise(code == 0 and counted, f"all {processed} jobs are counted, the one that was parked among them")
    told = any(line[0] == "process" and "open" in line for line in lines)
    stage.promise(told, "the process and the state of its target are shown")


async def stopped(stage: Stage) -> None:
    """The broker ends in good order."""
    stage.voice.step("The broker is told to stop (SIGTERM)")
    await end(stage.broker, 30)
    stage.promise(stage.broker.returncode == 0, "it ended with 0")
    left = await _number(stage, "LLEN", f"queue:{QUEUE}")
    held = items(await stage.ask("KEYS", "restbroker:ip:*"))
    stage.promise(left == 0 and not held, "no job is left behind, neither queued nor in hand")


Step = Callable[[Stage], Awaitable[None]]
STORY: tuple[Step, ...] = (from_php, from_ruby, from_shell, server_down, wrong_token, figures)


def _registers(stage: Stage, since: int) -> list[Arrival]:
    return [arrival for arrival in stage.ejabberd.arrivals[since:] if arrival.command == "register"]


async def _reaches(stage: Stage, wanted: int, *words: str) -> None:
    """Waits until a command's answer is at least `wanted`, at most 5 s; the promise that follows judges."""
    with trio.move_on_after(5):
        while await _number(stage, *words) < wanted:  # noqa: ASYNC110 - another process changes it
            await trio.sleep(0.02)


async def _number(stage: Stage, *words: str) -> int:
    return integer(await stage.ask(*words))
