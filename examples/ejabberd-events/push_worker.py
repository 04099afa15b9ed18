"""Wakes the phones of those who get a message while they are offline. Needs Debian's python3-redis.

It speaks to Redis, and to the phones' push service at PUSH_URL: to a message's event it answers with a job that asks
ejabberd for the receiver's sessions, and to an answer without one with a push. No text leaves Redis.
"""

import json
import os
import secrets
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import redis

COMES, IN_HAND, ASKS = "queue:xmpp_push", "xmpp_push:in_hand", "queue:rest"
PUSH_URL = os.environ["PUSH_URL"]
TOKEN = Path(os.environ.get("TOKEN_FILE", "/etc/restbroker/token")).read_text("utf-8").strip()
line = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))


def question(jid: str) -> str:
    """Return the job that asks whether this user is online; its answer carries the JID."""
    user, _, host = jid.partition("@")
    args = ["user_sessions_info", {"user": user, "host": host}, TOKEN, jid]
    job = {"class": "Push", "jid": secrets.token_hex(12), "queue": "rest", "args": args, "created_at": time.time()}
    return json.dumps({**job, "retry": True})


def wake(jid: str) -> None:
    """Have the push service wake the user's phones; it knows their devices."""
    body = json.dumps({"user": jid}).encode()
    request = urllib.request.Request(PUSH_URL, body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


def handle(job: dict[str, Any]) -> list[str]:
    """Return the jobs that follow from one on the queue; raise OSError while the push service is away."""
    if job["class"] == "XmppEvent":
        event = job["args"][0]
        is_news = event["body"] and not event["raw"].get("delayed")
        return [question(event["to"].partition("/")[0])] if is_news else []
    _text, jid, details = job["args"]
    if details["outcome"] == "delivered" and details["answer"] == []:
        wake(jid)
    return []


def main() -> None:
    """Take one job after the other; what the last process had in hand comes first."""
    while line.lmove(IN_HAND, COMES, "LEFT", "RIGHT"):
        pass
    while True:
        taken = line.blmove(COMES, IN_HAND, 1, "RIGHT", "LEFT")
        if taken is None:
            continue
        jobs = handle(json.loads(taken))
        with line.pipeline(transaction=True) as both:
            for each in jobs:
                both.lpush(ASKS, each)
            both.lrem(IN_HAND, 1, taken)
            both.execute()


if __name__ == "__main__":
    while True:
        try:
            main()
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            sys.stderr.write(f"Redis or the push service is away: {error}\n")
            time.sleep(1)
