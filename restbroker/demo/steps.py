"""The demo's story: what a producer does, what the server sees, what happens when things go wrong.

Every claim is checked. Called by `demo.demo`, in the order of `STORY`. Always holds: a step raises `RestbrokerError`
rather than go on after something that is not as restbroker promises.
"""

import json
from collections.abc import Awaitable, Callable

import trio

from restbroker.demo.environment import REPLIES, TOKEN, Environment
from restbroker.demo.scenario import PASSWORD, QUEUE
from restbroker.job.json_types import Json
from restbroker.standins.broker import end
from restbroker.standins.server import ReceivedCommand
from restbroker.store.replies import integer, items, raw

_REPLY_ID = "message-7"
_WAITING = 5


async def from_php(stage: Environment) -> None:
    """Push a job as a PHP application does, and check that it arrives."""
    stage.voice.step("An application pushes a job into the queue, as any Sidekiq client does")
    scene = stage.scene
    job = await stage.push([*scene.creation("john"), TOKEN])
    stage.voice.show(f"LPUSH queue:{QUEUE} {json.dumps(job)}")
    arrival = await stage.next_arrival(scene.create, 0)
    stage.promise(arrival.status == scene.created, "john is registered")
    if scene.filled:
        filled = ", ".join(f"the {name}, {value}" for name, value in scene.filled.items())
        kept = {name: arrival.arguments.get(name) for name in scene.filled} == scene.filled
        stage.promise(kept, f"the broker filled in {filled}")
    else:
        sent = {scene.user: "john", "password": PASSWORD}
        stage.promise(arrival.arguments == sent, "the server understood each argument as it was meant")


async def from_ruby(stage: Environment) -> None:
    """Push a job with arguments as pairs and a reply id, and check the reply to it."""
    stage.voice.step("Ruby sends a message and wants to know what became of it")
    message = stage.scene.message
    pairs: list[Json] = [[name, value] for name, value in message.pairs]
    stage.voice.show(f"Sidekiq::Client.push('class' => 'Restbroker', 'queue' => '{QUEUE}',")
    stage.voice.show(f"  'args' => ['{message.command}', {json.dumps(pairs)}, TOKEN, '{_REPLY_ID}'])")
    await stage.push([message.command, pairs, TOKEN, _REPLY_ID])
    await stage.next_arrival(message.command, 0)
    found = await stage.ask("BRPOP", f"queue:{REPLIES}", "5")
    payload = raw(items(found)[1]) if found else b"{}"
    stage.voice.show(f"BRPOP queue:{REPLIES}  {payload.decode()}")
    reply = json.loads(payload)
    told = (reply.get("class"), reply.get("args"))
    stage.promise(
        told == ("Add", [message.told, _REPLY_ID]),
        f"the server's answer, {message.told or 'which is empty'}, came back as a job for {REPLIES}",
    )


async def from_shell(stage: Environment) -> None:
    """Push jobs with `restbroker enqueue`, without and with `--wait`, and check what arrives and what is printed."""
    stage.voice.step("The same from a shell; with --wait the server's answer is printed")
    before = len(stage.stand_in.arrivals)
    scene, online = stage.scene, stage.stand_in.online
    code, _ = await stage.restbroker("enqueue", scene.look, f"{scene.user}=john")
    stage.promise(code == 0, "the job is queued")
    arrival = await stage.next_arrival(scene.look, before)
    stage.promise(arrival.arguments == {scene.user: "john", **scene.filled}, "the server was asked about john")
    code, answer = await stage.restbroker("enqueue", "--wait", scene.count)
    right = code == 0 and str(online) in answer
    stage.promise(right, f"the server's own number was printed: {online} users are online")


async def server_down(stage: Environment) -> None:
    """Take the server down while jobs come, and bring it back; check that all wait and are then executed once."""
    stage.voice.step("The server goes down, and jobs keep coming")
    await stage.server.go_down()
    before, processed = len(stage.stand_in.arrivals), await _number(stage, "GET", "stat:processed")
    users = [f"user{number}" for number in range(1, _WAITING + 1)]
    for user in users:
        await stage.push([*stage.scene.creation(user), TOKEN])
    # Long enough for every job to have been tried against a closed port, had the broker been careless.
    await trio.sleep(1)
    unfinished = await _number(stage, "GET", "stat:processed") == processed
    given_up = await _number(stage, "ZCARD", "dead") + await _number(stage, "ZCARD", "retry")
    stage.promise(unfinished and not given_up, f"all {_WAITING} jobs wait; none is lost, failed or has used up a try")
    await stage.server.come_up()
    stage.voice.show("The server is back.")
    await stage.until(lambda: len(stage.stand_in.arrivals) >= before + _WAITING, "the waiting jobs are executed")
    await _reaches(stage, processed + _WAITING, "GET", "stat:processed")
    registered = sorted(str(arrival.arguments[stage.scene.user]) for arrival in _registers(stage, before))
    stage.promise(registered == users, f"all {_WAITING} were then executed, each once: {', '.join(registered)}")


async def wrong_token(stage: Environment) -> None:
    """Push a job with a wrong token, and check that it is parked and not executed."""
    stage.voice.step("Somebody pushes a job with a wrong token")
    before = len(stage.stand_in.arrivals)
    job = await stage.push([*stage.scene.creation("mallory", "x"), "guessed"])
    await _reaches(stage, 1, "ZCARD", "dead")
    parked = [json.loads(raw(member)) for member in items(await stage.ask("ZRANGE", "dead", "0", "-1"))]
    stage.promise([entry["jid"] for entry in parked] == [job["jid"]], "the job is in Sidekiq's dead set")
    stage.voice.show(f"{parked[0]['error_class']}: {parked[0]['error_message']}")
    stage.promise("guessed" not in parked[0]["error_message"], "the reason is there, without the token")
    stage.promise(not _registers(stage, before), "the server never heard of it")


async def show_stats(stage: Environment) -> None:
    """Show what an operator sees, and check its numbers."""
    stage.voice.step("What the operator sees")
    processed = await _number(stage, "GET", "stat:processed")
    # A process tells of itself with each beat, every two or three seconds: its first told of nothing yet.
    code, shown = await stage.restbroker("stats", until=lambda stdout: "down" not in stdout)
    lines = [line.split("\t") for line in shown.splitlines()]
    counted = ["total", "processed", str(processed)] in lines
    stage.promise(code == 0 and counted, f"all {processed} jobs are counted, the dead one among them")
    told = any(line[0] == "process" and "up" in line for line in lines)
    stage.promise(told, "the process and the state of its target are shown")


async def stop(stage: Environment) -> None:
    """End the broker, and check that it ends with 0 and leaves no job behind."""
    stage.voice.step("The broker is told to stop (SIGTERM)")
    await end(stage.broker, 30)
    stage.promise(stage.broker.returncode == 0, "it ended with 0")
    left = await _number(stage, "LLEN", f"queue:{QUEUE}")
    held = items(await stage.ask("KEYS", "restbroker:ip:*"))
    stage.promise(left == 0 and not held, "no job is left behind, neither queued nor in progress")


Step = Callable[[Environment], Awaitable[None]]
STORY: tuple[Step, ...] = (from_php, from_ruby, from_shell, server_down, wrong_token, show_stats)


def _registers(stage: Environment, since: int) -> list[ReceivedCommand]:
    return [arrival for arrival in stage.stand_in.arrivals[since:] if arrival.command == stage.scene.create]


async def _reaches(stage: Environment, wanted: int, *words: str) -> None:
    """Wait until a command's answer is at least `wanted`, at most 5 s; the promise that follows judges."""
    with trio.move_on_after(5):
        while await _number(stage, *words) < wanted:  # noqa: ASYNC110 - another process changes it
            await trio.sleep(0.02)


async def _number(stage: Environment, *words: str) -> int:
    return integer(await stage.ask(*words))
