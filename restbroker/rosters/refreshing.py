"""Which target tells Prosody that rosters changed, and the refresh jobs that it is to be given.

Used by `app` for brokers and by the commands for rosters. Always holds: a job is complete, as `restbroker enqueue`
pushes it, with the first token that allows a refresh. One for a change names one user; one that a person asks for may
name many.
"""

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Self

import attrs

from restbroker.config.core import Config
from restbroker.config.roster import KIND
from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.errors import ConfigError
from restbroker.job.auth import AccessRequest, refusal
from restbroker.job.command import Command
from restbroker.operate.enqueue import Order, payload
from restbroker.servers import registry
from restbroker.store import queues
from restbroker.store.client import Client

REFRESH: Final = "refresh"
_TOGETHER: Final = 500
"""By one job, so that several processes share the work."""


@attrs.frozen
class Refreshing:
    """A target whose jobs refresh, and the token of these jobs."""

    target: Target
    token: Token

    @classmethod
    def of(cls, config: Config) -> Self | None:
        """The one that is told of changed rosters: `Roster.Target`, else the first that can; None if there is none.

        Raises `ConfigError` if no token allows it.
        """
        can = [target for target in config.targets if target.kind == KIND and not target.is_local]
        if config.roster is not None:
            can = [target for target in can if target.name == config.roster.target]
        return cls.at(can[0], config.tokens) if can else None

    @classmethod
    def at(cls, target: Target, tokens: Sequence[Token]) -> Self:
        """For this target, whatever the others are. Raises `ConfigError` if no token allows it."""
        catalogue = registry.catalogue_of(target, None)
        command = Command(REFRESH, {"users": ["john"]})
        dangers = catalogue.dangerous_in(REFRESH)
        wish = AccessRequest(
            command,
            catalogue.commands[REFRESH],
            dangers,
            default_host=target.default_host,
            target=target.name,
            queue=target.queues[0],
        )
        token = next((token for token in tokens if refusal(token, wish) is None), None)
        if token is None:
            raise ConfigError(
                f"No token allows the command refresh, which restbroker pushes to {target.name} when a roster changes.",
                'Add "refresh" to the Allow of one of the Tokens whose Targets and Queues have its first queue.',
            )
        return cls(target, token)

    @property
    def queue(self) -> str:
        """Where its jobs go."""
        return self.target.queues[0]

    def push(self, client: Client, users: Sequence[str], *, wanted: bool = False) -> list[str]:
        """Has all of these refreshed, by few jobs; their ids. Raises as `together`, and `StoreUnavailable`: perhaps."""
        pieces = [users[start : start + _TOGETHER] for start in range(0, len(users), _TOGETHER)]
        jobs = {secrets.token_hex(12): piece for piece in pieces}
        now_s = time.time()
        payloads = [self.together(piece, jid, now_s, wanted=wanted) for jid, piece in jobs.items()]
        queues.push(client, self.queue, payloads)
        return list(jobs)

    def together(self, users: Sequence[str], jid: str, now_s: float, *, wanted: bool) -> bytes:
        """One job for all of them. `wanted`: somebody will wait for its answer. Raises as `payloads`."""
        order = Order(REFRESH, {"users": list(users)}, self.queue, self.token, wanted=wanted)
        return payload(order, jid, now_s)

    def payloads(self, users: Iterable[str], now_s: float) -> Mapping[str, bytes]:
        """A job for each user. Raises `ConfigError` while the token's file cannot be read."""
        return {
            user: payload(Order(REFRESH, {"users": [user]}, self.queue, self.token), secrets.token_hex(12), now_s)
            for user in users
        }
