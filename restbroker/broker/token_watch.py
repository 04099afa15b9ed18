"""Tells whether processes that serve one queue accept the same tokens: where they do not, jobs die at random.

Each pool's heartbeat carries for its queues a digest of names and grants, and HMACs of a fixed text under the secrets.
Always holds: nobody learns more of a secret than whether a guess is right; while one process has a secret as the
current one and another as the previous one, as in a rotation, they count as alike.
"""

import hashlib
import random
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Final

import attrs
import orjson
import trio

from restbroker.broker.health import ProcessTask
from restbroker.broker.tokens import Tokens
from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.errors import StoreRefused
from restbroker.job import rubyjson
from restbroker.job.auth import reaches
from restbroker.job.json_types import Json
from restbroker.store import identities
from restbroker.telemetry.events import OperatorWarning

LOOK_S: Final = 30.0
"""Between two looks; a difference counts if both see it, so that all processes have the time to get a new file."""


def digests(tokens: Tokens, targets: Collection[Target]) -> dict[str, Json]:
    """Return what a heartbeat says of the tokens of these targets' queues: queue → [digest of the grants, secrets].

    The secrets are {name: [HMAC under the current one, under the previous one if there is one]}.
    """
    of_secrets = tokens.secret_digests()
    found: dict[str, Json] = {}
    for target in targets:
        for queue in target.queues:
            place = (target.name, queue)
            found[queue] = tokens.until_changed(place, partial(_of_queue, tokens.tokens, place, of_secrets))
    return found


def _of_queue(tokens: Sequence[Token], place: tuple[str, str], of_secrets: Mapping[str, Sequence[str]]) -> Json:
    valid = [token for token in tokens if reaches(token, place[0], place[1:])]
    of_grants = hashlib.sha256(orjson.dumps(sorted(map(_grants, valid)))).hexdigest()[:16]
    return [of_grants, {token.name: [*of_secrets[token.name]] for token in valid}]


def _grants(token: Token) -> list[str]:
    rules = [*(f"allow {pattern}" for pattern in token.allow), *(f"host {host}" for host in token.hosts)]
    return [token.name, f"{token.signed} {token.window_s}", *sorted(rules)]


def unlike(mine: Mapping[str, Json], snapshot: Mapping[str, Json]) -> list[str]:
    """Return the queues of `mine` that the pool of this snapshot serves with other tokens."""
    theirs = snapshot.get("tokens")
    found = theirs if isinstance(theirs, dict) else {}
    return [queue for queue in mine if queue in found and _is_unlike(mine[queue], found[queue])]


def _is_unlike(mine: Json, other: Json) -> bool:
    match mine, other:
        case [str() as grants, dict() as secrets], [str() as their_grants, dict() as their_secrets]:
            return grants != their_grants or any(
                not _is_same(own, their_secrets.get(name)) for name, own in secrets.items()
            )
        case _:
            return False  # an older version says nothing


def _is_same(own: Json, their: Json) -> bool:
    match own, their:
        case [current, *previous], [their_current, *their_previous]:
            return current in (their_current, *their_previous) or their_current in previous
        case _:
            return False


@attrs.define(eq=False)
class TokenWatch(ProcessTask):
    """Compares the tokens of one process with those of all others. `our_identities`: this process' identities."""

    targets: Collection[Target]
    tokens: Tokens
    our_identities: Collection[str]
    _unlike: frozenset[tuple[str, str]] = frozenset()

    async def run(self) -> None:
        """Look about every thirty seconds, until cancelled; what Redis refuses, the reaper reports."""
        while True:
            await trio.sleep(LOOK_S * random.uniform(0.9, 1.1))  # noqa: S311 - spreads looks of many processes
            try:
                self.compare(await self.until_up(identities.read_snapshots))
            except StoreRefused:
                continue

    def compare(self, snapshots: Mapping[str, bytes]) -> None:
        """Warn once of each queue that a process serves with other tokens at this look and at the one before."""
        mine = digests(self.tokens, self.targets)
        found: set[tuple[str, str]] = set()
        for identity, raw in snapshots.items():
            if identity not in self.our_identities:
                process = ":".join(identity.split(":")[:2])
                found |= {(queue, process) for queue in unlike(mine, rubyjson.object_of(raw) or {})}
        for queue, process in sorted(found & self._unlike):
            message = f"The process {process} serves the queue {queue} with other tokens, so jobs die by chance."
            self.report_once(queue, OperatorWarning("TokensMixed", message, HINT))
        self._unlike = frozenset(found)


HINT: Final = "Give all processes that serve it the same Token, Tokens and secret files (restbroker config show)."
