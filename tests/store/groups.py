"""Jobs of a target with OrderBy, FairBy or both, and a pool that takes and settles them. For tests of the store.

Always holds: a job's jid says which one it is, and its arguments say of which group it is.
"""

import json
from collections.abc import Sequence
from typing import Final

import attrs

from restbroker.job.settlement import Ack, Settlement
from restbroker.store import queues
from restbroker.store.client import Client
from restbroker.store.codes import Code
from restbroker.store.in_progress import FetchedJob
from restbroker.store.jobs import FetchAnswer, FetchRequest, FetchResult, register
from restbroker.store.settling import FinishRequest, TakeNext
from tests.store.pools import FACTS, NAMESPACE, QUEUES, Server
from tests.support.store_calls import fetch, finish, finish_and_take

ORDER: Final = '{"by":["user"],"order":"user "}'
FAIR: Final = '{"by":["host"],"fair":1}'
WEIGHTED: Final = '{"by":["host"],"fair":1,"weights":{"h0":4}}'
BOTH: Final = '{"by":["host","user"],"fair":1,"order":"host|user "}'
"""What a target says of its groups."""


def job(name: str, user: str | None = None, host: str | None = None, **more: object) -> bytes:
    """A job with this jid."""
    arguments = {key: value for key, value in (("user", user), ("host", host)) if value is not None}
    return json.dumps({"class": "A", "jid": name, "args": ["c", arguments, "t"], **more}).encode()


def name_of(raw: bytes) -> str:
    """The jid of a job."""
    return str(json.loads(raw)["jid"])


@attrs.define
class GroupPool:
    """A registered identity of the target "t", and what it believes. `last`: its last answer."""

    client: Client
    text: str
    identity: str = "h:2:pool:t"
    base: int = 0
    queues: tuple[str, ...] = QUEUES
    is_alive: bool = True
    quiet_s: float = 0.0
    last: FetchResult | None = None

    def start(self, quiet_s: float = 0.0, **longer_s: float) -> "GroupPool":
        """`quiet_s`: how long a request may take; `longer_s`: that of some commands."""
        self.quiet_s = quiet_s
        time_outs_s = {"": quiet_s, **longer_s}
        assert register(self.client, self.identity, FACTS, self.queues, key_rules=self.text, time_outs_s=time_outs_s)
        return self

    def request(self, want: int, **more: object) -> FetchRequest:
        request = FetchRequest(self.identity, "t", self.queues, self.base, want, self.base + want, key_rules=self.text)
        return attrs.evolve(request, **more)  # type: ignore[arg-type]  # the tests name real fields

    def ask(self, want: int, **more: object) -> FetchAnswer:
        return fetch(self.client, self.request(want, **more))

    def take(self, want: int = 10, **more: object) -> list[FetchedJob]:
        answer = self.ask(want, **more)
        assert isinstance(answer, FetchResult), answer
        self.base, self.last = self.base + len(answer.jobs), answer
        return list(answer.jobs)

    def finish_request(self, items: Sequence[tuple[str, Settlement]], **more: object) -> FinishRequest:
        request = FinishRequest(self.identity, "t", self.queues, self.base, items, key_rules=self.text)
        return attrs.evolve(request, **more)  # type: ignore[arg-type]  # the tests name real fields

    def settle(self, *jobs: FetchedJob, by: Settlement | None = None) -> list[Code]:
        return finish(self.client, self.finish_request([(job.ticket, by or Ack()) for job in jobs]), 1.0)

    def settle_and_take(self, *jobs: FetchedJob, max_dead: int = 0) -> list[FetchedJob]:
        """These are done, and the next ones of their keys are taken with that."""
        items, wanted = [(job.ticket, Ack()) for job in jobs], TakeNext(self.base, 10, max_dead)
        request = self.finish_request(items, hwm=self.base + 10, next=wanted)
        _, taken = finish_and_take(self.client, request, 1.0)
        self.base += len(taken)
        return list(taken)


def keys_of_groups(server: Server) -> set[str]:
    """What Redis has of groups, beside what says by what they are made."""
    found = (key.decode().removeprefix(f"{NAMESPACE}:") for key in server.raw.keys("*"))
    kinds = ("restbroker:line:", "restbroker:turn:", "restbroker:fair:", "restbroker:held:", "restbroker:stopped:")
    return {key for key in found if key.startswith(kinds)}


def push(client: Client, *jobs: bytes, queue: str = "a") -> None:
    """Puts jobs into a queue, the first to be taken first."""
    queues.push(client, queue, list(jobs))
