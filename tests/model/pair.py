"""The real store and the reference beside it: every call goes to both, and must have the same answer and effect."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import attrs

from restbroker.errors import StoreRefused
from restbroker.store.client import Argument, Client, Reply, open_client
from restbroker.store.codes import Refused
from restbroker.store.pauses import PauseEnd
from restbroker.store.scripts import names, script
from restbroker.store.sets import Due
from tests.model.dataset import DataSet, PauseNote
from tests.model.reference import Reference
from tests.store.pools import NAMESPACE, Server

P = ParamSpec("P")
T = TypeVar("T")
Stored = Mapping[str, object]
ASIDE = "aside"
NOT_COMPARED = ("stat:", "restbroker:info:", "restbroker:inflight:", "restbroker:pace:")


@attrs.frozen
class Snapshot:
    """What a replica has when it takes over. `dumps`: each key's content, and when it expires (epoch ms, 0: never)."""

    dumps: Mapping[bytes, tuple[bytes, int]]
    data: DataSet


@attrs.define(eq=False)
class Pair:
    """One server and one reference. `again` is the last call, as long as nothing happened since."""

    server: Server
    client: Client = attrs.field(init=False)
    reference: Reference = attrs.field(factory=Reference)
    again: Callable[[], object] | None = None

    def __attrs_post_init__(self) -> None:
        self.server.raw.flushall()
        self.client = open_client(self.server.settings)
        # Of several in one go, a script that Redis does not know comes last: which it knows depends on earlier tests.
        self.client.commands([("SCRIPT", "LOAD", script(name).source) for name in names()])

    @property
    def data(self) -> DataSet:
        """The reference's data, which must be the server's too."""
        return self.reference.data

    def ask(self, function: Callable[Concatenate[Client, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer of both. What the store refuses altogether, both must; the answer is StoreRefused itself then."""
        expected = getattr(self.reference, function.__name__)

        def call() -> T:
            real = _answer(function, self.client, *args, **kwargs)
            assert _comparable(real) == _comparable(_answer(expected, *args, **kwargs))
            return cast("T", real)

        answer = call()
        self.again = call
        return answer

    def spoil(self, key: str) -> None:
        """Puts a key of a wrong type in this one's place."""
        raw = self.server.raw
        if raw.exists(f"{NAMESPACE}:{key}"):
            raw.rename(f"{NAMESPACE}:{key}", f"{ASIDE}:{key}")
        raw.set(f"{NAMESPACE}:{key}", "spoilt")
        self.data.broken.add(key)

    def mend(self, key: str) -> None:
        """Puts the right key back."""
        raw = self.server.raw
        raw.delete(f"{NAMESPACE}:{key}")
        if raw.exists(f"{ASIDE}:{key}"):
            raw.rename(f"{ASIDE}:{key}", f"{NAMESPACE}:{key}")
        self.data.broken.remove(key)

    def snapshot(self) -> Snapshot:
        """What is there now."""
        raw = self.server.raw
        dumps = {key: (raw.dump(key), max(0, raw.pexpiretime(key))) for key in raw.keys("*")}
        return Snapshot({key: kept for key, kept in dumps.items() if kept[0] is not None}, copy.deepcopy(self.data))

    def fail_over(self, to: Snapshot) -> None:
        """Goes back to what was there then, under clients that go on."""
        raw = self.server.raw
        raw.flushall()
        for key, (dump, expires_ms) in to.dumps.items():
            raw.restore(key, expires_ms, dump, absttl=True)
        self.reference.data = copy.deepcopy(to.data)

    def stored(self) -> Stored:
        """Every key of the server with what it holds; numbers and times of display left out."""
        raw, broken = self.server.raw, self.data.broken
        names = [key.decode() for key in raw.keys("*")]
        spoilt = {f"{NAMESPACE}:{key}" for key in broken}
        found = {name.partition(":")[2]: name for name in sorted(names, reverse=True) if name not in spoilt}
        kept = {key: name for key, name in found.items() if not key.startswith(NOT_COMPARED)}
        pipe = raw.pipeline(transaction=False)
        for key, name in kept.items():
            _read(pipe, key, name)
        return {key: _plain(key, value) for key, value in zip(kept, pipe.execute(), strict=True)}

    def expected(self) -> Stored:
        """The same of the reference."""
        data = self.data
        keys: dict[str, object] = {key: list(jobs) for key, jobs in data.lists.items()}
        keys |= {f"restbroker:hand:{queue}": list(jobs) for queue, jobs in data.hands.items()}
        keys |= {"retry": data.sets["retry"], "schedule": data.sets["schedule"], "dead": set(data.sets["dead"])}
        keys |= {"queues": data.names, "paused": data.paused_queues, "restbroker:parked": data.copies}
        keys |= {f"restbroker:large:{name}": payload for name, payload in data.large.items()}
        keys["restbroker:large"] = set(data.large)
        keys["restbroker:history"] = sorted(data.history)
        keys |= {f"restbroker:done:{name}": set(kept) for name, kept in data.fingerprints.items()}
        keys |= {f"restbroker:signed:{token}": known for token, known in data.signed.items()}
        keys |= {"restbroker:beats": _texts(data.alive), "restbroker:dying": _texts(data.fenced)}
        keys |= {f"restbroker:pause:{target}": self.reference.reasons(target) for target in list(data.pauses)}
        notes = {"queues": data.queue_notes, "targets": data.target_notes}
        keys |= {f"restbroker:pauses:{kind}": _without_times(noted) for kind, noted in notes.items()}
        for identity, own in data.held.items():
            counters = {"last": own.last, "hwm": own.hwm or None}
            keys[f"restbroker:ip:{identity}"] = own.jobs | _texts({n: c for n, c in counters.items() if c is not None})
            keys[f"restbroker:sent:{identity}"] = dict.fromkeys(own.sent, b"once")
        return {key: value for key, value in keys.items() if value}

    def counted(self) -> tuple[int, int]:
        """How many jobs the server counts as processed and as failed."""
        processed, failed = self.server.raw.mget(f"{NAMESPACE}:stat:processed", f"{NAMESPACE}:stat:failed")
        return int(processed or 0), int(failed or 0)


class Slow:
    """A client that comes to its recoveries late: after some calls, `interlude` runs before the next one."""

    def __init__(self, client: Client, calls: int, interlude: Callable[[], object]) -> None:
        self._client = client
        self._calls_left = calls
        self._interlude = interlude
        self.interrupted = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)

    def run(self, name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Reply:
        if name == "recover":
            self._calls_left -= 1
            if self._calls_left < 0 and not self.interrupted:
                self.interrupted = True
                self._interlude()
        return self._client.run(name, keys, arguments)


def _answer(function: Callable[..., object], *args: object, **kwargs: object) -> object:
    try:
        return function(*args, **kwargs)
    except StoreRefused:
        return StoreRefused


def _comparable(answer: object) -> object:
    """Without the texts of Redis' errors and the exact time."""
    match answer:
        case list() if answer and isinstance(answer[0], PauseEnd):
            return sorted(answer, key=lambda ended: (ended.kind, ended.name))
        case list():
            return [Refused("") if isinstance(code, Refused) else code for code in answer]
        case tuple():
            return tuple(_comparable(item) for item in answer)
        case StoreRefused():
            return StoreRefused
        case Due(members=members):
            return members
        case _:
            return answer


def _read(pipe: Any, key: str, name: str) -> None:
    match key:
        case "retry" | "schedule":
            pipe.zrange(name, 0, -1, withscores=True)
        case _ if key == "dead" or key.startswith("restbroker:done:"):
            pipe.zrange(name, 0, -1)
        case _ if key in ("queues", "paused") or key.startswith("restbroker:signed:"):
            pipe.smembers(name)
        case "restbroker:parked" | "restbroker:history":
            pipe.xrange(name)
        case _ if key.startswith("restbroker:large:"):
            pipe.get(name)
        case _ if key.startswith(("queue:", "restbroker:hand:", "restbroker:reply:")):
            pipe.lrange(name, 0, -1)
        case _:
            pipe.hgetall(name)


def _plain(key: str, value: Any) -> object:
    match key:
        case "retry" | "schedule":
            return dict(value)
        case _ if key == "dead" or key.startswith("restbroker:done:"):
            return set(value)
        case _ if key.startswith("restbroker:pause:"):
            return {reason.decode() for reason in value}
        case _ if key.startswith("restbroker:pauses:"):
            return _without_times({name.decode(): _noted(note) for name, note in value.items()})
        case _ if key in ("queues", "paused", "restbroker:large") or key.startswith("restbroker:signed:"):
            return {name.decode() for name in value}
        case "restbroker:parked":
            return [(fields[b"ticket"].decode(), fields[b"payload"]) for _, fields in value]
        case "restbroker:history":
            return sorted(fields[b"end"] for _, fields in value)
        case _ if isinstance(value, dict):
            return {field.decode(): content for field, content in value.items()}
        case _:
            return value


def _noted(note: bytes) -> PauseNote:
    _, until_us, words = note.split(b" ", 2)
    said = json.loads(words)
    return PauseNote(int(until_us), said["who"] or None, said["why"] or None)


def _without_times(notes: Mapping[str, PauseNote]) -> dict[str, tuple[bool, str | None, str | None]]:
    """Whether each has an end, and what was said of it."""
    return {name: (note.until_us != 0, note.who, note.why) for name, note in notes.items()}


def _texts(numbers: Mapping[str, int]) -> dict[str, bytes]:
    return {name: str(number).encode() for name, number in numbers.items()}
