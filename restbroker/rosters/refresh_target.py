"""Which target tells Prosody that rosters changed, and the refresh jobs that it gets.

Used by `app` for brokers and by the commands for rosters. Always holds: a job is complete, as `restbroker enqueue`
pushes it, with the first token that allows a refresh. A job for a change names one user; one that an operator pushes
may name many.
"""

import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Final, Self

from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.errors import ConfigError
from restbroker.job.auth import AccessRequest, refusal
from restbroker.job.command import Command
from restbroker.kinds import PROSODY_ROSTER
from restbroker.light import frozen
from restbroker.operate.enqueue import JobRequest, payload
from restbroker.rosters.store import RefreshJobs
from restbroker.servers import registry
from restbroker.store import queues
from restbroker.store.client import Client

REFRESH: Final = "refresh"
_USERS_PER_JOB: Final = 500
"""The most users in one job, so that several processes share the work."""


@frozen
class RefreshTarget:
    """A target whose jobs refresh rosters, and the token of these jobs."""

    target: Target
    token: Token

    @classmethod
    def from_config(cls, config: Config) -> Self | None:
        """Return the target that learns of changed rosters, with its token; None if there is none.

        It is `Roster.Target`, or, without `Roster`, the first that can. Raise `ConfigError` if no token allows it.
        """
        can = [target for target in config.targets if target.kind == PROSODY_ROSTER and not target.is_local]
        if config.roster is not None:
            can = [target for target in can if target.name == config.roster.target]
        return cls.with_token(can[0], config.tokens) if can else None

    @classmethod
    def with_token(cls, target: Target, tokens: Sequence[Token]) -> Self:
        """Return this target with its token; raise `ConfigError` if no token allows it."""
        catalogue = registry.catalogue_of(target, None)
        command = Command(REFRESH, {"users": ["john"]})
        dangerous = catalogue.dangerous_in(REFRESH)
        request = AccessRequest(
            command,
            catalogue.commands[REFRESH],
            dangerous,
            default_host=target.default_host,
            target=target.name,
            queue=target.queues[0],
        )
        token = next((token for token in tokens if refusal(token, request) is None), None)
        if token is None:
            raise ConfigError(
                f"No token allows the command refresh, which restbroker pushes to {target.name} when a roster changes.",
                'Add "refresh" to the Allow of one of the Tokens whose Targets and Queues have its first queue.',
            )
        return cls(target, token)

    @property
    def queue(self) -> str:
        """The queue of its jobs."""
        return self.target.queues[0]

    def push(self, client: Client, users: Sequence[str], *, now: bool = False, wanted: bool = False) -> list[str]:
        """Push few jobs that refresh all of these users, and return the jobs' ids.

        `now`: without the debounce. `wanted`: the caller will wait for their answers. Raise `ConfigError` while the
        token's file cannot be read, and `StoreUnavailable`: then they may have been pushed.
        """
        pieces = [users[start : start + _USERS_PER_JOB] for start in range(0, len(users), _USERS_PER_JOB)]
        jobs = dict(self._job(piece, now=now, wanted=wanted) for piece in pieces)
        queues.push(client, self.queue, list(jobs.values()))
        return list(jobs)

    def jobs(self, users: Iterable[str]) -> RefreshJobs:
        """Return a job for each of these users; raise `ConfigError` while the token's file cannot be read."""
        return RefreshJobs(self.queue, {user: self._job([user])[1] for user in users})

    def _job(self, users: Sequence[str], *, now: bool = False, wanted: bool = False) -> tuple[str, bytes]:
        """Return the id of a new job, and the job."""
        jid, how = secrets.token_hex(12), {"now": True} if now else {}
        request = JobRequest(REFRESH, {"users": list(users), **how}, self.queue, self.token, wants_reply=wanted)
        return jid, payload(request, jid, time.time())
