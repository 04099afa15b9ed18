"""What the trial sees and does in Redis, by redis-py: it shares no code with the broker that it judges.

Used by everything here that talks to Redis. Always holds: nothing is sent twice (by itself redis-py sends a push again
over a new connection); `sweep` removes no key outside of a run's own namespace. Its keys are those of docs/keys.md.
The jobs of a run of `verify` are a create, a command that must not run twice, and a harmless question, in turn: a job's
jid is also its `traceparent`, which brokers pass on as a header, so that Redis and the stand-in speak of the same job.
"""

import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import trio
from redis import Redis, RedisError, Sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

from restbroker.errors import StoreUnavailable
from restbroker.light import frozen
from restbroker.store.settings import StoreSettings, Tls, endpoint_of

QUEUE: Final = "rest"
REPLIES: Final = "rest_replies"
DOMAIN: Final = "example.org"
USER: Final = f"admin@{DOMAIN}"
PREFIX: Final = "restbroker-verify-"
_NO_TICKETS: Final = frozenset({b"last", b"hwm"})
"""Fields of a hash of jobs in progress that are none."""
_TIMEOUT_S: Final = 10.0
_SCAN_COUNT: Final = 1000
T = TypeVar("T")


def new_namespace() -> str:
    """Return a new namespace: hexadecimal digits and hyphens, so nothing that a pattern could misread."""
    return f"{PREFIX}{secrets.token_hex(8)}"


def open_redis(settings: StoreSettings) -> Redis:
    """Return a client that connects when first used, by the settings of the user's brokers.

    Raise `ConfigError` if they cannot be used.
    """
    place = endpoint_of(settings, _TIMEOUT_S)
    # A Retry for each client: its number of tries is in it. RESP2 is what every proxy and each ACL lets pass.
    common: dict[str, Any] = {"socket_timeout": _TIMEOUT_S, "protocol": 2, "retry": Retry(NoBackoff(), 0)}
    login: dict[str, Any] = {
        "db": place.database,
        "username": place.username or None,
        "password": place.last_password or None,
        "client_name": settings.client_name,
    }
    if place.path is not None:
        return Redis(unix_socket_path=place.path, **login, **common)
    if place.tls is not None:
        common |= _tls(place.tls)
    if settings.sentinels:
        of_sentinels = {**common, "password": settings.sentinel_password and settings.sentinel_password.reveal()}
        asking = Sentinel(settings.sentinels, sentinel_kwargs=of_sentinels)  # type: ignore[no-untyped-call]  # its own
        found: Redis = asking.master_for(settings.master, **login, **common)  # type: ignore[no-untyped-call]
        return found
    return Redis(place.host, place.port, **login, **common)


def _tls(tls: Tls) -> dict[str, Any]:
    return {
        "ssl": True,
        "ssl_cert_reqs": tls.verification,
        "ssl_check_hostname": tls.checks_name,
        "ssl_ca_certs": tls.authorities,
        "ssl_certfile": tls.certificate,
        "ssl_keyfile": tls.key,
    }


@frozen(eq=False)
class Witness:
    """Answers from Redis about one namespace. All methods block and may raise `RedisError`; `ask` calls one."""

    redis: Redis
    namespace: str = ""

    async def ask(self, question: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401 - as the question has them
        """Call a method in a thread. Raise `StoreUnavailable` if Redis refuses or does not answer."""
        try:
            return await trio.to_thread.run_sync(question, *arguments)
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis did not answer the trial's own client: {error}") from error

    def key(self, name: str) -> str:
        """Return the full name of a key."""
        return f"{self.namespace}:{name}" if self.namespace else name

    def push(self, queue: str, payloads: Sequence[bytes]) -> None:
        """Push jobs as any Sidekiq client does."""
        pipeline = self.redis.pipeline(transaction=False)
        pipeline.sadd(self.key("queues"), queue)
        pipeline.lpush(self.key(f"queue:{queue}"), *payloads)
        pipeline.execute()

    def live_identities(self, pid: int) -> list[str]:
        """Return the identities under which a process sends heartbeats; none while it starts or changes them."""
        return [name for name in self._names("restbroker:beats") if _pid(name) == pid]

    def is_requeued(self, fenced: Sequence[str]) -> bool:
        """Tell whether none of these identities exists any more."""
        return self._identities().isdisjoint(fenced)

    def jobs_in_progress(self, pid: int | None = None) -> Mapping[str, Sequence[str]]:
        """Return identity → ids of its jobs in progress, for all identities or those of the process `pid`."""
        names = sorted(name for name in self._identities() if pid in (None, _pid(name)))
        return {name: list(map(_jid, self._tickets(name).values())) for name in names}

    def count_unfinished(self, queue: str) -> int:
        """Return how many jobs are neither finished nor dead, all counted in one moment."""
        pipeline = self.redis.pipeline(transaction=True)
        pipeline.llen(self.key(f"queue:{queue}"))
        pipeline.llen(self.key(f"restbroker:hand:{queue}"))
        for zset in ("retry", "schedule"):
            pipeline.zcard(self.key(zset))
        for identity in sorted(self._identities()):
            pipeline.hkeys(self.key(f"restbroker:ip:{identity}"))
        replies = pipeline.execute()
        return int(sum(replies[:4])) + sum(len({*fields} - _NO_TICKETS) for fields in replies[4:])

    def count_locations(self, queue: str) -> Counter[str]:
        """Return in how many places each job is; one that is nowhere is not listed. Only while nothing moves."""
        payloads = self._read("LRANGE", f"queue:{queue}", 0, -1)
        payloads += self._read("LRANGE", f"restbroker:hand:{queue}", 0, -1)
        for zset in ("retry", "schedule", "dead"):
            payloads += self._read("ZRANGE", zset, 0, -1)
        found = Counter(map(_jid, payloads))
        for held in self.jobs_in_progress().values():
            found.update(held)
        return found

    def dead_jobs(self) -> Mapping[str, str]:
        """Return the ids of the dead jobs, each with the class of its error."""
        jobs = map(json.loads, self._read("ZRANGE", "dead", 0, -1))
        return {job["jid"]: job["error_class"] for job in jobs}

    def sweep(self) -> None:
        """Remove every key of the namespace, until a last search finds none.

        What a killed broker had sent may reach Redis after the first search. Every key's name is read (SCAN), as
        nothing else can prove that none remains. Raise `StoreUnavailable`, and ValueError for a namespace that
        is not a run's.
        """
        if not self.namespace.startswith(PREFIX):
            raise ValueError(f"{self.namespace!r} is not the namespace of a run")
        try:
            while sum(self.redis.unlink(key) for key in self.redis.scan_iter(self.key("*"), count=_SCAN_COUNT)):
                pass
        except RedisError as error:
            hint = f"Remove them:  redis-cli --scan --pattern '{self.namespace}:*' | xargs -r redis-cli unlink"
            raise StoreUnavailable(f"The keys of the run remain: {error}", hint) from error

    def _identities(self) -> set[str]:
        """Return all identities that may have jobs in progress: those that live, and the fenced ones."""
        return {*self._names("restbroker:beats"), *self._names("restbroker:dying")}

    def _names(self, name: str) -> list[str]:
        return [field.decode() for field in self._read("HKEYS", name)]

    def _tickets(self, identity: str) -> dict[bytes, bytes]:
        fields = self._read("HGETALL", f"restbroker:ip:{identity}")
        return {ticket: payload for ticket, payload in fields.items() if ticket not in _NO_TICKETS}

    def _read(self, command: str, name: str, *more: int) -> Any:  # noqa: ANN401 - as Redis answers it
        return self.redis.execute_command(command, self.key(name), *more)  # type: ignore[no-untyped-call]  # its own


def _pid(identity: str) -> int:
    return int(identity.split(":")[-3])


def _jid(payload: bytes) -> str:
    return str(json.loads(payload)["jid"])


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
