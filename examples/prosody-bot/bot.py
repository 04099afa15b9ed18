"""A bot in a room: it joins, answers who speaks to it, and joins again when the room has lost it.

It speaks to Redis alone: what it says are jobs on the queue `bot`; what it hears, and restbroker's answers to its own
questions, are jobs on the queue `bot_events`. Needs Debian's python3-redis. README.md says how to start it.
"""

import hashlib
import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import redis

BOT = "bot@bots.example.org"
ROOM = "tea@rooms.example.org"
NICK = "bot"
LOOK_S = float(os.environ.get("LOOK_S", "30"))
"""So often it asks whether it is in the room."""
LOST_S = 10 * LOOK_S
"""After this time it asks again, though there was no answer."""
HEARD, BEING_ANSWERED, SAYS = "queue:bot_events", "bot_events:being_answered", "queue:bot"
IN_ROOM = "in the room?"

TOKEN = Path(os.environ.get("TOKEN_FILE", "/etc/restbroker/token")).read_text("utf-8").strip()
line = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))


def job(command: str, arguments: dict[str, Any], reply_id: str = "", jid: str = "", **options: bool) -> str:
    """Return the job of a command as text; `jid` becomes the id of a message, by which clients know a repetition."""
    args = [command, arguments, TOKEN] + ([reply_id] if reply_id else [])
    jid = jid or secrets.token_hex(12)
    return json.dumps({"class": "Bot", "jid": jid, "queue": "bot", "args": args, "created_at": time.time(), **options})


def ask_whether_in_room() -> None:
    """XEP-0410: a ping to the bot's own place in the room is refused if the room does not know it."""
    line.lpush(SAYS, job("ping", {"to": f"{ROOM}/{NICK}"}, IN_ROOM, retry=False, dead=False))


def join() -> str:
    """Enter the room, without what was said there before. If that fails, the next question tells."""
    place = {"to": f"{ROOM}/{NICK}", "muc": {"history": {"maxstanzas": 0}}}
    return job("presence", place, retry=False, dead=False)


def answer_to(event: dict[str, Any]) -> dict[str, Any] | None:
    """Return what to say to this message, as arguments of the command `message`; None: nothing."""
    sender, body = event["from"], event["body"]
    if not body or "delay" in event["raw"]:
        return None
    if event["type"] == "message":
        return {"to": sender, "type": "chat", "body": f"You said: {body}"}
    if sender != f"{ROOM}/{NICK}" and body.startswith(f"{NICK}:"):
        person = sender.partition("/")[2]
        return {"to": ROOM, "type": "groupchat", "body": f"{person}: {body.removeprefix(f'{NICK}:').strip()} to you"}
    return None


def handle(heard: dict[str, Any]) -> tuple[list[str], bool]:
    """Return the jobs that follow from one job on the queue, and whether it tells where the bot is."""
    if heard["class"] != "BotEvent":
        _text, _reply_id, details = heard["args"]
        return [] if details["outcome"] == "delivered" else [join()], True
    says = answer_to(heard["args"][0])
    # Made of the event's: if it were answered twice, both answers would have one id.
    jid = hashlib.sha256(heard["jid"].encode()).hexdigest()[:24]
    return [] if says is None else [job("message", says, jid=jid)], False


def main() -> None:
    """Answer what comes, until Redis is away."""
    # What the last process took and did not answer comes first.
    while line.lmove(BEING_ANSWERED, HEARD, "LEFT", "RIGHT"):
        pass
    ask_s = 0.0
    while True:
        if time.monotonic() >= ask_s:
            ask_whether_in_room()
            ask_s = time.monotonic() + LOST_S
        taken = line.blmove(HEARD, BEING_ANSWERED, 1, "RIGHT", "LEFT")
        if taken is None:
            continue
        jobs, is_answer = handle(json.loads(taken))
        if is_answer:
            ask_s = time.monotonic() + LOOK_S
        # Both or neither: no event is lost or answered twice, whenever this process ends.
        with line.pipeline(transaction=True) as both:
            for each in jobs:
                both.lpush(SAYS, each)
            both.lrem(BEING_ANSWERED, 1, taken)
            both.execute()


if __name__ == "__main__":
    while True:
        try:
            main()
        except (redis.ConnectionError, redis.TimeoutError) as error:
            sys.stderr.write(f"Redis is away: {error}\n")
            time.sleep(1)
