"""The names of all keys. Used by every file of the store, and by nothing else.

Always holds: this is the only place where a key's text is made, and each begins with the namespace. redis-namespace
(Sidekiq ≤ 6.5) and other Sidekiq clients write a namespace as `ns:` before the key.
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from restbroker.job.format import is_reply_key, large_key
from restbroker.light import frozen

SortedSet = Literal["retry", "schedule", "dead"]
StatKind = Literal["processed", "failed"]
QueueName: TypeAlias = str | bytes
"""The name of a queue; bytes where it is no UTF-8, since other programs may call a queue so."""
_BY_NAME: Final[Mapping[str, str]] = {
    **dict.fromkeys(("queues", "processes", "paused"), "set"),
    **dict.fromkeys(("retry", "schedule", "dead", "goretry"), "zset"),
    **dict.fromkeys(("restbroker:parked", "restbroker:history", "restbroker:audit", "restbroker:events"), "stream"),
    "process_cleanup": "string",
}
# The first that fits counts.
_BY_BEGINNING: Final = (
    (("stat:", "restbroker:rate:", "restbroker:lease:", "restbroker:event:", "restbroker:bulk:done:"), "string"),
    (("restbroker:unique:", "restbroker:once:", "restbroker:pushed:", "restbroker:large:"), "string"),
    (("restbroker:pace:", "restbroker:line:", "restbroker:groups:"), "string"),
    (("queue:", "restbroker:hand:", "restbroker:reply:", "restbroker:copies:"), "list"),
    (("restbroker:done:", "restbroker:turn:", "restbroker:held:"), "zset"),
    (("restbroker:signed:",), "set"),
    (("restbroker:",), "hash"),
)


class _Fixed:
    """A key without a name of someone's in it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, keys: "RedisKeys", _class: object) -> str:
        return keys._key(self._name)  # noqa: SLF001 - it is a part of that class


@frozen(cache_hash=True)
class RedisKeys:
    """Every key, with the prefix of `namespace` ("" for none). Sidekiq's own names: documented, versions 5 to 8."""

    namespace: str = ""

    def _key(self, name: str) -> str:
        return f"{self.namespace}:{name}" if self.namespace else name

    def expected_type(self, key: str) -> str | None:
        """Return Redis' word for the type that this key must have; None: it is a process', or none of these keys."""
        name = key.removeprefix(f"{self.namespace}:") if self.namespace else key
        by_beginning = (kind for beginnings, kind in _BY_BEGINNING if name.startswith(beginnings))
        return _BY_NAME.get(name) or next(by_beginning, None)

    heartbeats = _Fixed("restbroker:beats")
    """HASH identity → counter: who may fetch."""
    fenced_identities = _Fixed("restbroker:dying")
    """HASH identity → counter when fenced: whose jobs are to be given back."""
    unadmitted_counts = _Fixed("restbroker:unadmitted")
    """HASH queue → how many of its dead jobs no token admitted, as counted last."""

    def info(self, identity: str) -> str:
        """Return the key of a HASH: an identity's attributes and queues."""
        return self._key(f"restbroker:info:{identity}")

    def in_progress(self, identity: str) -> str:
        """Return the key of a HASH: ticket → raw job; plus `last` and `hwm`."""
        return self._key(f"restbroker:ip:{identity}")

    def send_marks(self, identity: str) -> str:
        """Return the key of a HASH: ticket → `once` (about to be sent, at most once) or `alone` (alone in progress)."""
        return self._key(f"restbroker:sent:{identity}")

    def pause(self, target: str) -> str:
        """Return the key of a HASH: reason → until, epoch microseconds, 0 without an end."""
        return self._key(f"restbroker:pause:{target}")

    queue_pauses = _Fixed("restbroker:pauses:queues")
    """HASH queue → since, until (epoch microseconds, 0 without an end) and who and why (JSON), for display."""
    target_pauses = _Fixed("restbroker:pauses:targets")
    """HASH target → since, until (epoch microseconds, 0 without an end) and who and why (JSON), for display."""
    periodic = _Fixed("restbroker:periodic")
    """HASH of all periodic commands: name → schedule and mark (epoch s); `NAME push`, … → notes for people."""
    periodic_pauses = _Fixed("restbroker:pauses:periodic")
    """HASH periodic command → since, until (epoch microseconds, 0 without an end) and who and why (JSON)."""

    def rate(self, target: str) -> str:
        """Return the key of a STRING: when a target's shared rate limit has all its tokens again (epoch µs)."""
        return self._key(f"restbroker:rate:{target}")

    def in_flight(self, target: str) -> str:
        """Return the key of a HASH: identity → its jobs in progress for this target, where their number is limited."""
        return self._key(f"restbroker:inflight:{target}")

    dead_copies = _Fixed("restbroker:parked")
    """STREAM: copies of dead jobs."""
    large_payloads = _Fixed("restbroker:large")
    """HASH name of a `large` key → what `store.large` knows of it."""

    causes = _Fixed("restbroker:causes")
    """HASH of the sets `dead` and `retry`: the causes of failure that were counted last (lines of JSON)."""

    def large(self, name: str) -> str:
        """Return the key of a STRING: the bytes of a job that is too large, which is dead."""
        return self._key(large_key(name))

    history = _Fixed("restbroker:history")
    """STREAM: finished jobs; it expires when nothing is added any more."""
    minutes = _Fixed("restbroker:minutes")
    """HASH: minute → what the pages saw then, for their charts; the last hours. It expires."""
    tell = _Fixed("restbroker:tell")
    """HASH: what was told, to whom it may concern (`operate.tell`), who tells, and why it does not arrive."""
    audit = _Fixed("restbroker:audit")
    """STREAM: what people did."""
    audit_stops = _Fixed("restbroker:audit:stops")
    """HASH: who stopped an action, by its first entry in the audit log; it expires."""
    recent_events = _Fixed("restbroker:events")
    """STREAM: the latest events of servers, without their texts."""

    def event(self, mark: str) -> str:
        """Return the key of a STRING with an expiry: an event that came, and is dropped when it comes again.

        Also for the marks of messages that this broker sent, and of tests (`store.events`).
        """
        return self._key(f"restbroker:event:{mark}")

    def copies(self, mark: str) -> str:
        """Return the key of a LIST with an expiry: copies that came of a message, and wait for the other one."""
        return self._key(f"restbroker:copies:{mark}")

    def lease(self, name: str) -> str:
        """Return the key of a STRING with an expiry: the holder of the lease `name`."""
        return self._key(f"restbroker:lease:{name}")

    rewrite = _Fixed("restbroker:rewrite")
    """HASH with an expiry: run of Redis → which process has the lock to have Redis rewrite its append-only file."""

    def sse(self, source: str) -> str:
        """Return the key of a HASH: user → until when their stream counts as read (epoch ms), and by which reader.

        Between these is how often others came late.
        """
        return self._key(f"restbroker:sse:{source}")

    def progress(self, source: str) -> str:
        """Return the key of a HASH: reader of the source → up to when it has all events in Redis (`store.records`)."""
        return self._key(f"restbroker:progress:{source}")

    sources = _Fixed("restbroker:sources")
    """HASH with an expiry: source, process and user → the state of the reading (JSON)."""

    def probe_result(self, name: str) -> str:
        """Return the key of a HASH with an expiry: the last shared result of the probe `name` (`store.probing`)."""
        return self._key(f"restbroker:told:{name}")

    tokens = _Fixed("restbroker:tokens")
    """HASH name of a token → when a job was last admitted with it, epoch seconds."""

    def done_jobs(self, token: str, name: str) -> str:
        """Return the key of a ZSET: fingerprint of a signed job of this token → until when it is known, epoch ms.

        `name` is one of those in `done_sets`: `first:QUEUE` or `stored:QUEUE`.
        """
        return self._key(f"restbroker:done:{token}:{name}")

    def done_sets(self, token: str) -> str:
        """Return the key of a SET: the names of the token's `done_jobs`."""
        return self._key(f"restbroker:signed:{token}")

    rosters = _Fixed("restbroker:rosters")
    """HASH user → version and bytes of the roster: who has one."""

    def roster(self, user: str) -> str:
        """Return the key of a HASH: bare JID → contact (JSON)."""
        return self._key(f"restbroker:roster:of:{user}")

    roster_dirty = _Fixed("restbroker:roster:dirty")
    """HASH user → first and last change that waits for a refresh, last push of a job for it, number of pushes."""
    roster_refreshes = _Fixed("restbroker:roster:flights")
    """HASH user → until when their refresh counts as under way (epoch ms), and whose it is."""

    def logins(self, target: str) -> str:
        """Return the key of a HASH: user → state, a number, and their stream (a secret) or claims, separated by blanks.

        The state is `on`, `off`, `doubted` or `asks`. The number is when they were logged in (epoch microseconds), or
        for `asks` when they asked last (epoch seconds).
        """
        return self._key(f"restbroker:logins:{target}")

    def streams(self, server: str) -> str:
        """Return the key of a HASH: stream of a login at this host (a secret) → target and user whose it is."""
        return self._key(f"restbroker:streams:{server}")

    def lock(self, name: str) -> str:
        """Return the key of a STRING with an expiry: the id of the job that holds this lock (`job.claims`)."""
        return self._key(f"restbroker:unique:{name}")

    def claim(self, name: str) -> str:
        """Return the key of a STRING with an expiry: who holds this claim (`job.claims`)."""
        return self._key(f"restbroker:once:{name}")

    def push_note(self, jid: str) -> str:
        """Return the key of a STRING with an expiry: `enqueue` has pushed the job of this id."""
        return self._key(f"restbroker:pushed:{jid}")

    def room(self, target: str, room: str) -> str:
        """Return the key of a HASH with an expiry: user → `in` or `out` and a mark of their login, or who has the lock.

        The lock is for having them join or leave the room.
        """
        return self._key(f"restbroker:room:{target}:{room}")

    def bulk(self, batch: str) -> str:
        """Return the key of a HASH with an expiry: the last row that was pushed, how many were, and how they ended."""
        return self._key(f"restbroker:bulk:{batch}")

    def bulk_done(self, batch: str) -> str:
        """Return the key of a STRING with an expiry: a bit for each row that was done."""
        return self._key(f"restbroker:bulk:done:{batch}")

    def bulk_failed(self, batch: str) -> str:
        """Return the key of a HASH with an expiry: row → why it failed."""
        return self._key(f"restbroker:bulk:failed:{batch}")

    def reply(self, name: str) -> str:
        """Return the key of a LIST: one detailed answer. Raise ValueError if `name` is not a `restbroker:reply:…`."""
        if not is_reply_key(name):
            raise ValueError(f"{name!r} is not a key for answers (restbroker:reply:NAME)")
        return self._key(name)

    queues = _Fixed("queues")
    """SET of queue names."""
    oldest_jobs = _Fixed("restbroker:oldest")
    """HASH with an expiry: queue → the digest of its oldest job, and since when it has been that (epoch seconds)."""
    processes = _Fixed("processes")
    """SET of Sidekiq's processes; each name is also the key of a HASH that expires after 60 s without a beat."""

    def process(self, name: str) -> str:
        """Return the key of a HASH: one Sidekiq process."""
        return self._key(name)

    def work(self, name: str) -> str:
        """Return the key of a HASH: a Sidekiq process' jobs in progress, for Sidekiq from 6.4.2 on."""
        return self._key(f"{name}:work")

    def workers(self, name: str) -> str:
        """Return the key of a HASH: a Sidekiq process' jobs in progress, for Sidekiq before 6.4.2."""
        return self._key(f"{name}:workers")

    def signals(self, name: str) -> str:
        """Return the key of a LIST: requests to a Sidekiq process, the newest at the head."""
        return self._key(f"{name}-signals")

    process_cleanup = _Fixed("process_cleanup")
    """STRING with an expiry: the process that makes it may take names of gone processes out of `processes`."""

    def queue(self, name: str) -> str:
        """Return the key of a LIST: a queue; the newest is at the head, jobs are taken at the tail."""
        return self._key(f"queue:{name}")

    def queue_of(self, name: QueueName) -> QueueName:
        """Return the key of a queue's LIST, as `queue` does, also for a name that is no UTF-8."""
        return self.queue(name) if isinstance(name, str) else self.queue("").encode() + name

    def hand(self, name: str) -> str:
        """Return the key of a LIST: jobs of a queue that woke a standing fetch, which takes them from there at once.

        So do all that look at the queue: they put them back first (`scripts/parts/hand.lua`).
        """
        return self._key(f"restbroker:hand:{name}")

    def go_in_progress(self, queue: str, process_id: str) -> str:
        """Return the key of a LIST: jobs that the Go original has in progress, the newest at the head.

        This was measured on its last revision.
        """
        return f"{self.queue(queue)}:{process_id}:inprogress"

    go_retry = _Fixed("goretry")
    """ZSET of the Go original's failed jobs by their due times. Sidekiq and Sidekiq Web do not look there."""

    def key_queue(self, queue: str) -> str:
        """Return the key of a STRING: how many jobs of a queue wait in lines, for people.

        With `BEFORE_ORDER` and a job's key behind it, it is that of a LIST: the jobs of this key, the next at the tail.
        """
        return self._key(f"restbroker:line:{queue}")

    def ready_keys(self, queue: str) -> str:
        """Return the key of a ZSET: key that waits and may start → virtual time of its next job."""
        return self._key(f"restbroker:turn:{queue}")

    def fair(self, queue: str) -> str:
        """Return the key of a HASH: the virtual times that a queue has reached."""
        return self._key(f"restbroker:fair:{queue}")

    def pace(self, queue: str) -> str:
        """Return the key of a STRING with an expiry: while it is there, no process moves jobs of the queue to lines."""
        return self._key(f"restbroker:pace:{queue}")

    def busy_keys(self, target: str) -> str:
        """Return the key of a ZSET: ordered key that may not start → why and since or until when (`store.order`)."""
        return self._key(f"restbroker:held:{target}")

    def stopped(self, target: str) -> str:
        """Return the key of a HASH: key that is stopped → the id of the job that died."""
        return self._key(f"restbroker:stopped:{target}")

    def keys_made_by(self, target: str) -> str:
        """Return the key of a STRING: by what the ordered keys of a target are made."""
        return self._key(f"restbroker:groups:{target}")

    def old_lines(self, queue: str) -> str:
        """Return the key of a HASH: jobs that versions before lists of keys put into lines."""
        return self._key(f"restbroker:fair:wait:{queue}")

    def old_due(self, queue: str) -> str:
        """Return the key of a ZSET: keys of jobs that those versions put off."""
        return self._key(f"restbroker:order:due:{queue}")

    def old_hold(self, target: str) -> str:
        """Return the key of a HASH: keys of jobs that those versions held."""
        return self._key(f"restbroker:order:hold:{target}")

    def sorted_set(self, name: SortedSet) -> str:
        """Return the key of one of Sidekiq's sorted sets."""
        return self._key(name)

    paused_queues = _Fixed("paused")
    """SET of paused queues (Sidekiq Pro's)."""

    def stat(self, kind: StatKind) -> str:
        """Return the key of a counter since the beginning."""
        return self._key(f"stat:{kind}")

    def stat_day(self, kind: StatKind, date: str) -> str:
        """Return the key of a counter of one day. `date` is YYYY-MM-DD in UTC."""
        return self._key(f"stat:{kind}:{date}")
