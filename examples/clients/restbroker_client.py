"""Pushes jobs to restbroker and waits for answers (docs/producers.md). Copy it into your project; needs redis-py."""

import json
import os
import time

import redis


class NotDone(Exception):
    def __init__(self, text, jid, answer=None):
        super().__init__(text)
        self.jid, self.answer = jid, answer


class Refused(NotDone):
    """It was not done, and is not tried again: `answer["error"]` has `code`, `message` and `cure`."""


class Unknown(NotDone):
    """It may be done, or may still run: `wait` again. Push it again only with the same `idempotency_key`."""


class Restbroker:
    def __init__(self, url=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"), queue="rest"):
        self.redis = redis.Redis.from_url(url, socket_timeout=10, retry=None)  # its retries would push a job twice
        file, self.queue = os.environ.get("RESTBROKER_TOKENFILE"), queue
        self.token = open(file).read().strip() if file else os.environ["RESTBROKER_TOKEN"]

    def push(self, command, arguments, *, at=None, **fields):
        """Queue a job, for now or a later time (epoch seconds); return its id. `fields`: order_key, expiry, …"""
        job = {"class": "Restbroker", "jid": os.urandom(12).hex(), "queue": self.queue, "retry": True, **fields}
        raw = json.dumps({**job, "args": [command, arguments, self.token], "created_at": time.time()})
        with self.redis.client() as r:  # is connected; if that fails, nothing was sent
            self._ask(job["jid"], *((r.zadd, "schedule", {raw: at}) if at else (r.lpush, f"queue:{self.queue}", raw)))
        return job["jid"]

    def later(self, seconds, command, arguments, **fields):
        return self.push(command, arguments, at=time.time() + seconds, **fields)

    def call(self, command, arguments, *, timeout=10, **fields):
        jid = os.urandom(12).hex()
        return self.wait(self.push(command, arguments, jid=jid, reply_to=jid, **fields), timeout)

    def wait(self, jid, timeout=10):
        waits = (self.redis.blpop(f"restbroker:reply:{jid}", min(s, 5)) for s in range(timeout, 0, -5))
        if not (found := self._ask(jid, next, filter(None, waits), None, errors=redis.RedisError)):
            raise Unknown(f"No answer to the job {jid} within {timeout} s. It may still run.", jid)
        answer = json.loads(found[1])
        outcome, error, first = (answer.get(name) or {} for name in ("outcome", "error", "first"))
        if outcome in ("delivered", "negative") or first.get("outcome") in ("delivered", "negative"):
            return answer
        kind = Unknown if outcome in ("uncertain", "duplicate") or "may_have_run" in answer else Refused
        raise kind(f"{error['code']}: {error['message']} {error['cure']} (job {jid})", jid, answer)

    def _ask(self, jid, ask, *arguments, errors=(redis.ConnectionError, redis.TimeoutError)):
        try:
            return ask(*arguments)
        except errors as error:
            raise Unknown(f"The job {jid} may be queued or done, or not: {error}", jid) from error
