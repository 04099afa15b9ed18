"""The steps of the demo: producers push jobs, the server gets requests, and some things go wrong.

Every claim is checked. Called by `demo`, in the order of `STEPS`. Always holds: a step raises `RestbrokerError` rather
than go on after something that is not as restbroker promises.
"""

import json
from collections.abc import Awaitable, Callable

import trio

from restbroker.trial.environment import TOKEN, Environment
from restbroker.trial.workload import DOMAIN, QUEUE, REPLIES, USER

_REPLY_ID = "message-7"
_WAITING = 5


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
