"""What Redis holds, in plain dictionaries, and the few things that can be done to it. Used by `reference`.

Always holds: a key of a wrong type is a name in `broken`: it keeps what it held, and nobody can use it.
"""

from collections import defaultdict

import attrs

from restbroker.errors import StoreRefused
from restbroker.job.settlement import Fingerprint
from restbroker.store.codes import Applied, Clash, Code, Refused
from restbroker.store.identities import Registration


@attrs.define
class HeldJobs:
    """What an identity has in progress, and which of it is marked as sent. `last` None: it never took anything."""

    jobs: dict[str, bytes] = attrs.field(factory=dict)
    last: int | None = None
    hwm: int = 0
    sent: set[str] = attrs.field(factory=set)


@attrs.define
class Reasons:
    """Why a target is paused, each until when (epoch microseconds, 0 without an end). The whole of it is gone behind
    `expires_us` (0: never).
    """

    until_us: dict[str, int] = attrs.field(factory=dict)
    expires_us: int = 0


@attrs.frozen
class PauseNote:
    """What a person noted beside a pause. `until_us` as of `Reasons`."""

    until_us: int
    who: str | None
    why: str | None


@attrs.define
class DataSet:
    """The tail of a list is its last element, where jobs are taken. `hands` has for a queue what woke a fetch there.

    `pauses` has for each target why it is paused; `queue_notes` and `target_notes` have what people noted of their
    pauses. `unanswered` counts what died in a crash without a reply that they owed.
    """

    lists: dict[str, list[bytes]] = attrs.field(factory=lambda: defaultdict(list))
    hands: dict[str, list[bytes]] = attrs.field(factory=lambda: defaultdict(list))
    sets: dict[str, dict[bytes, float]] = attrs.field(factory=lambda: {"retry": {}, "schedule": {}, "dead": {}})
    names: set[str] = attrs.field(factory=set)
    alive: dict[str, int] = attrs.field(factory=dict)
    fenced: dict[str, int] = attrs.field(factory=dict)
    infos: dict[str, Registration] = attrs.field(factory=dict)
    held: dict[str, HeldJobs] = attrs.field(factory=lambda: defaultdict(HeldJobs))
    paused_queues: set[str] = attrs.field(factory=set)
    pauses: dict[str, Reasons] = attrs.field(factory=lambda: defaultdict(Reasons))
    queue_notes: dict[str, PauseNote] = attrs.field(factory=dict)
    target_notes: dict[str, PauseNote] = attrs.field(factory=dict)
    copies: list[tuple[str, bytes]] = attrs.field(factory=list)
    large: dict[str, bytes] = attrs.field(factory=dict)
    unanswered: int = 0
    history: list[bytes] = attrs.field(factory=list)
    fingerprints: dict[str, set[bytes]] = attrs.field(factory=lambda: defaultdict(set))
    signed: dict[str, set[str]] = attrs.field(factory=lambda: defaultdict(set))
    processed: int = 0
    failed: int = 0
    broken: set[str] = attrs.field(factory=set)

    def require(self, key: str) -> None:
        """Raises as the store does when a script cannot even read the key."""
        if key in self.broken:
            raise StoreRefused(f"{key} has a wrong type")

    def add(self, zset: str, member: bytes, score: float) -> Code:
        """Adds a member that is not there yet."""
        if zset in self.broken:
            return Refused("")
        if member in self.sets[zset]:
            return Clash()
        self.sets[zset][member] = round(score, 6)
        return Applied()

    def append(self, queue: str, raw: bytes) -> Code:
        """Puts a job where it is taken next."""
        if f"queue:{queue}" in self.broken:
            return Refused("")
        self.lists[f"queue:{queue}"].append(raw)
        return Applied()

    def wake(self, queue: str) -> bool:
        """Moves the next job of a queue to its hand, as the wait does that it ends; whether there is one."""
        jobs = self.lists[f"queue:{queue}"]
        self.hands[queue][:0] = jobs[-1:]
        del jobs[-1:]
        return bool(self.hands[queue])

    def can_push(self, queue: str | None, key: str) -> bool:
        """Whether something can be pushed there. The queue's name is noted first, also when the push then fails."""
        if queue is not None:
            if "queues" in self.broken:
                return False
            self.names.add(queue)
        return key not in self.broken

    def kill(self, ticket: str, member: bytes, score: float) -> Code:
        """Adds a member to the dead set, and a copy to the stream of dead jobs."""
        code = self.add("dead", member, score)
        if code == Applied():
            self.copies.append((ticket, member))
        return code

    def remember(self, one: Fingerprint) -> None:
        """Remembers that a signed job was done, or stored. What cannot be written down is not remembered."""
        known = f"{'stored' if one.is_stored else 'first'}:{one.queue}"
        self.signed[one.token].add(known)
        name = f"{one.token}:{known}"
        if f"restbroker:done:{name}" not in self.broken:
            self.fingerprints[name].add(one.text.encode() if one.is_done else b"~" + one.text.encode())
