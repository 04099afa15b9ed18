"""Pushes jobs to restbroker and waits for answers (docs/producers.md). Copy it into your project; needs redis-py."""

import json
import math
import os
import pathlib
import time

import redis

# Set when the address was read, whose query would win over arguments of redis-py: a retry pushes a job twice.
OWN = {"socket_timeout": 10, "retry": None, "retry_on_timeout": False, "retry_on_error": [], "encoding": "utf-8"}


class NotDone(Exception):
    def __init__(self, text, jid, answer=None):
        super().__init__(text)
        self.jid, self.answer = jid, answer


class Refused(NotDone):
    """It was not done, and is not tried again: `answer["error"]` has `code`, `message` and `cure`."""


class Unknown(NotDone):
    """It may be done, or may still run: `wait` again. Push it again only with the same `idempotency_key`."""


def seconds(given):
    if not math.isfinite(found := float(given)):
        raise ValueError(f"{given} is no number of seconds")
    return found


def secret():
    """Return the token, read by restbroker's own rule: docs/tokens.md#how-a-secrets-file-is-read."""
    text, file = os.environ.get("RESTBROKER_TOKEN", ""), os.environ.get("RESTBROKER_TOKENFILE")
    if file:
        raw = pathlib.Path(file).read_bytes()
        encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        if 0 in raw[:2]:
            encoding = "utf-16-le" if raw[0] else "utf-16-be"
        text = raw.decode(encoding).replace("\r\n", "\n").replace("\r", "\n").rstrip("\n\x85\u2028\u2029\x1a")
    if not text.strip() or "\0" in text:
        raise ValueError("No token: set RESTBROKER_TOKENFILE to a file that has it, or RESTBROKER_TOKEN.")
    return text


class Restbroker:
    def __init__(self, url=None, queue="rest"):
        url = url or os.environ.get("REDIS_URL") or "redis://127.0.0.1:6379/0"
        self.redis = redis.Redis(connection_pool=redis.ConnectionPool(**{**redis.connection.parse_url(url), **OWN}))
        self.token, self.queue = secret(), queue

    def push(self, command, arguments, *, at=None, **fields):
        """Queue a job, for now or a later time (epoch seconds); return its id. `fields`: order_key, expiry, …"""
        job = {"class": "Restbroker", "jid": os.urandom(12).hex(), "queue": self.queue, "retry": True, **fields}
        job |= {"args": [command, arguments, self.token], "created_at": time.time()}
        raw = json.dumps(job, allow_nan=False, ensure_ascii=False).encode()  # no half of a surrogate pair
        at = at if at is None else seconds(at)
        with self.redis.client() as r:  # is connected; if that fails, nothing was sent
            push = (r.lpush, f"queue:{self.queue}", raw) if at is None else (r.zadd, "schedule", {raw: at})
            self._ask(job["jid"], *push, refusals=redis.ResponseError)
        return job["jid"]

    def later(self, sec, command, arguments, **fields):
        return self.push(command, arguments, at=time.time() + seconds(sec), **fields)

    def call(self, command, arguments, *, timeout=10, **fields):
        jid, timeout = os.urandom(12).hex(), self._timeout(timeout)
        return self.wait(self.push(command, arguments, jid=jid, reply_to=jid, **fields), timeout)

    def wait(self, jid, timeout=10):
        end, found = time.monotonic() + self._timeout(timeout), None
        while not found and (left := end - time.monotonic()) > 0:  # at least 10 ms: to an older Redis, less is for ever
            found = self._ask(jid, self.redis.blpop, f"restbroker:reply:{jid}", min(max(left, 0.01), 5))
        if not found:
            raise Unknown(f"No answer to the job {jid} within {timeout} s. It may still run.", jid)
        try:
            answer = dict(json.loads(found[1]))
        except (TypeError, ValueError) as error:
            raise Unknown(f"The answer to the job {jid} cannot be read: {error}", jid) from error
        outcome, error, first = (answer.get(name) or {} for name in ("outcome", "error", "first"))
        if outcome in ("delivered", "negative") or first.get("outcome") in ("delivered", "negative"):
            return answer
        kind = Unknown if outcome in ({}, "uncertain", "duplicate") or "may_have_run" in answer else Refused
        raise kind(f"{error.get('code')}: {error.get('message')} {error.get('cure')} (job {jid})", jid, answer)

    def _timeout(self, given):
        if (found := seconds(given)) <= 0:
            raise ValueError("timeout: a number of seconds above 0 is needed")
        return found

    def _ask(self, jid, ask, *arguments, refusals=()):
        try:
            return ask(*arguments)
        except refusals:
            raise  # nothing was queued
        except redis.RedisError as error:
            raise Unknown(f"The job {jid} may be queued or done, or not: {error}", jid) from error
