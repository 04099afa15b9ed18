"""Wakes the phones of those who cannot be reached. Needs Debian's python3-redis.

It speaks to Redis, and to the phones' push service at PUSH_URL. The hash `devices` in Redis has what the backend gave
each app for its `<enable/>`: node → {"secret": …, "token": …}. No text of a message leaves Redis.
"""

import hmac
import json
import os
import sys
import time
import urllib.request
from typing import Any

import redis

COMES, IN_HAND = "queue:xmpp_push", "xmpp_push:in_hand"
QUIET_S = 10
PUSH_URL = os.environ["PUSH_URL"]
line = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))


def wake(token: str) -> None:
    """Have the push service wake the phone that it knows by this token."""
    body = json.dumps({"token": token}).encode()
    request = urllib.request.Request(PUSH_URL, body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


def handle(job: dict[str, Any]) -> None:
    """Wake the device of this event, once in ten seconds; raise OSError while the push service is away."""
    push = job["args"][0]["raw"]
    known = line.hget("devices", push["node"] or "")
    if known is None:
        return
    # Any user may enable any node: only its own app knows the secret.
    device, secret = json.loads(known), push["options"].get("secret")
    if not hmac.compare_digest(device["secret"].encode(), str(secret).encode()):
        return
    # Each message is a notification of its own.
    woken = f"xmpp_push:woken:{push['node']}"
    if not line.exists(woken):
        wake(device["token"])
        line.set(woken, 1, ex=QUIET_S)


def main() -> None:
    """Take one job after the other; what the last process had in hand comes first."""
    while line.lmove(IN_HAND, COMES, "LEFT", "RIGHT"):
        pass
    while True:
        taken = line.blmove(COMES, IN_HAND, 1, "RIGHT", "LEFT")
        if taken is not None:
            handle(json.loads(taken))
            line.lrem(IN_HAND, 1, taken)


if __name__ == "__main__":
    while True:
        try:
            main()
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            sys.stderr.write(f"Redis or the push service is away: {error}\n")
            time.sleep(1)
