"""The jobs of a run: a create, a command that must not run twice, and a harmless question, in turn.

Used by `verify`; its names by all. Always holds: a job's jid is also its `traceparent`, which brokers pass on as a
header, so that Redis and the stand-in speak of the same job.
"""

import json
import time
from typing import Final

QUEUE: Final = "rest"
REPLIES: Final = "rest_replies"
DOMAIN: Final = "example.org"
USER: Final = f"admin@{DOMAIN}"


def job_id(number: int) -> str:
    """Return the id of the `number`-th job: a valid traceparent."""
    return f"00-{number + 1:032x}-{1:016x}-01"


def payload(number: int, token: str) -> bytes:
    """Return the `number`-th job as a Sidekiq client pushes it."""
    jid, now_s = job_id(number), time.time()
    fields = {"class": "Restbroker", "args": [*_command(number), token], "jid": jid, "queue": QUEUE, "retry": True}
    return json.dumps({**fields, "created_at": now_s, "enqueued_at": now_s, "traceparent": jid}).encode()


def _command(number: int) -> tuple[str, dict[str, str]]:
    user = f"u{number}"
    match number % 3:
        case 0:
            return "register", {"user": user, "host": DOMAIN, "password": "a password"}
        case 1:
            words = {"type": "headline", "from": DOMAIN, "subject": "", "body": str(number)}
            return "send_message", {**words, "to": f"{user}@{DOMAIN}"}
        case _:
            return "check_account", {"user": user, "host": DOMAIN}
