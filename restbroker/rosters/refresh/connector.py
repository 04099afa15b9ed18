"""The connector for rosters: commands that change them in Redis, and refreshes that tell Prosody.

`app` opens it through the registry. Always holds: a command that changes a roster sends Prosody nothing, and says
nothing of its health; of a refresh of several users those who fail or must wait get jobs of their own, in which they
are retried, dead and shown by themselves.
"""

from collections.abc import Callable
from typing import Final, assert_never

import orjson
import trio

from restbroker.config.target import Target
from restbroker.errors import ConfigError, StoreRefused
from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Probe, Reason, Rejected
from restbroker.light import frozen
from restbroker.rosters.in_redis import RostersInRedis
from restbroker.rosters.refresh import catalogue, requests
from restbroker.rosters.refresh.options import Options
from restbroker.rosters.refresh.refresher import Refresher
from restbroker.rosters.refresh.requests import Refresh, Show
from restbroker.rosters.refresh.sender import RefreshSender, health_of, probe_request
from restbroker.rosters.rules import as_json, roster_of, too_large
from restbroker.rosters.store import RefreshDelay, RosterChange, RosterUnchanged, RosterVersions
from restbroker.servers.contract import Connector, Link, NotYet, Ports

_MARGIN_S: Final = 5.0
"""Seconds before the end of its claim at which a request is cancelled."""
_NO_REFRESH_TARGET: Final = Reason(
    "NoRefreshTarget",
    "No target refreshes rosters: this one has WritesOnly.",
    "Configure a target of this kind without WritesOnly, and name it in Roster.Target.",
)
_NEEDS_NOTHING: Final = Probe(ok=True, denied=False, version=None, detail="Its commands run in Redis.")


@frozen
class RosterConnector:
    """The `Connector` of a target of kind `prosody-roster`."""

    _target: Target
    _rosters: RostersInRedis
    _refresher: Refresher

    @property
    def catalogue(self) -> Catalogue:
        """The commands for rosters."""
        return catalogue.for_version(None)

    def spec(self, endpoint: str) -> CommandSpec | None:
        """Return the command of this name, or None if there is none: it is refused."""
        return self.catalogue.commands.get(endpoint)

    async def deliver(self, call: Call, link: Link) -> Outcome:  # noqa: ARG002  many share a request
        """Refresh, change or show rosters, and return the outcome; raise `NotSent` or `MaybeSent` as the request does.

        Raise `NotYet` for a refresh of one user whose turn does not come soon; others wait for their turn and their
        request.
        """
        request_ = requests.read(call.command, self._target.default_host)
        if isinstance(request_, Reason):
            return Rejected(request_)
        try:
            return await self._do(request_, call.attempt)
        except StoreRefused as error:
            return Deferred(Reason("RosterRefused", error.message, error.hint))

    async def probe(self, link: Link) -> Probe:
        """Ask Prosody whether the roster module is there; send nothing where no server is needed.

        Raise `NotSent` or `MaybeSent` if Prosody cannot be reached.
        """
        if self._target.is_local:
            return _NEEDS_NOTHING
        return health_of(await link.ask(probe_request(self._target))).probe

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Send the refreshes until cancelled."""
        await self._refresher.run(task_status=task_status)

    async def _do(self, request_: requests.RosterRequest, attempt: int) -> Outcome:
        match request_:
            case Refresh((user,), at_once) if not self._target.is_local:
                return await self._refresher.refresh(user, attempt, at_once=at_once)
            case Refresh(users, at_once) if not self._target.is_local:
                return await self._refresh_together(users, at_once=at_once)
            case Refresh(users):
                return (
                    _success({"users": len(users)}) if await self._rosters.mark(users) else Rejected(_NO_REFRESH_TARGET)
                )
            case Show(user, domain):
                (stored,) = await self._rosters.read([user])
                return _success(as_json(roster_of(stored, user, domain)[0]))
            case RosterChange():
                return await self._change(request_)
            case _:
                assert_never(request_)

    async def _refresh_together(self, users: tuple[str, ...], *, at_once: bool) -> Outcome:
        outcomes = await self._refresher.refresh_all(users, at_once=at_once)
        for outcome in outcomes.values():
            if isinstance(outcome, Denied) or (isinstance(outcome, Deferred) and outcome.pause_target):
                return outcome  # it is Prosody's trouble, and no one's own
        left = [user for user, outcome in outcomes.items() if not isinstance(outcome, Delivered)]
        if left:
            await self._rosters.mark(left)
        waiting = sum(isinstance(outcome, NotYet) for outcome in outcomes.values())
        return _success({"users": len(users), "failed": len(left) - waiting, "waiting": waiting})

    async def _change(self, change: RosterChange) -> Outcome:
        match await self._rosters.change([change]):
            case RosterVersions(versions):
                return _success({"versions": dict(versions)})
            case RosterUnchanged(user):
                return Rejected(Reason("RosterTooLarge", too_large(user), "Remove others first."))
            case other:
                assert_never(other)


def _success(body: dict[str, Json]) -> Delivered:
    return Delivered(orjson.dumps(body).decode(), body, 200, by_us=True)


def open_connector(target: Target, ports: Ports) -> Connector:
    """Return the connector of this target, which has sent nothing yet.

    Raise `ConfigError` if `ports` lacks the rosters or the HTTP client that it needs.
    """
    rosters, http = ports.service(RostersInRedis), ports.http
    if rosters is None or http is None:
        raise ConfigError(f"The target {target.name} needs rosters in Redis.", "Please report this.")
    options = target.options_as(Options)
    now_s: Callable[[], float] = ports.now_s
    sender = RefreshSender(target, http, now_s, rosters.lease_s - _MARGIN_S)
    delay = RefreshDelay(round(options.debounce_s * 1000), round(options.max_wait_s * 1000))
    most = max(target.concurrency, options.batch_size)
    refresher = Refresher(rosters, sender.send, options.batch_size, most=most, delay=delay)
    return RosterConnector(target, rosters, refresher)
