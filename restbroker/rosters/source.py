"""Fetches rosters out of a running ejabberd, over its configured target. Called by `restbroker roster import`.

Always holds: it only reads (`registered_users`, `get_roster`, `check_account`); what it finds is checked like every
other roster.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias

import attrs
import trio

from restbroker.config.target import Target
from restbroker.errors import RestbrokerError
from restbroker.job.command import Call, Command
from restbroker.job.jid import printable
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Denied
from restbroker.rosters.files import FileContents, RefusedRoster
from restbroker.rosters.rules import (
    BadRoster,
    Contact,
    read_contact,
    read_jid,
    read_user,
    require_fit,
    require_writable,
)
from restbroker.servers import registry
from restbroker.servers.contract import Connector, DirectLink, Ports
from restbroker.transport.client import open_transport
from restbroker.transport.errors import MaybeSent, NotSent

ProgressCallback: TypeAlias = Callable[[int, int], None]
_AT_ONCE: Final = 20


class ServerUnreachable(RestbrokerError):
    """The server did not answer; nothing was written."""


class ServerRefusal(RestbrokerError):
    """The server refuses the login or the command; nothing was written."""


@attrs.frozen
class FetchedRosters:
    """The rosters of a server. `left_out`: the number of contacts left out, whose subscription is not `both`.

    Prosody would make each of them a contact of both sides.
    """

    contents: FileContents
    left_out: int


@attrs.define
class _RosterFetch:
    connector: Connector
    link: DirectLink
    host: str
    timeout_s: float
    one_sided: bool
    rosters: dict[str, Mapping[str, Contact]] = attrs.field(factory=dict)
    refused: list[RefusedRoster] = attrs.field(factory=list)
    left_out: int = 0

    async def ask(self, command: str, **arguments: Json) -> Json:
        """Send the command and return its answer; raise `ServerUnreachable`, `ServerRefusal` or `RestbrokerError`."""
        call = Call(Command(command, {**arguments, "host": self.host}), timeout_s=self.timeout_s)
        try:
            outcome = await self.connector.deliver(call, self.link)
        except (NotSent, MaybeSent) as error:
            raise ServerUnreachable(error.message, "`restbroker check` tests the target.") from error
        match outcome:
            case Delivered(body=body):
                return body
            case Denied(reason=reason):
                raise ServerRefusal(f"{command}: {reason.message}", reason.hint)
            case other:
                raise RestbrokerError(f"{command}: {other.reason.message}", other.reason.hint)

    async def users(self) -> list[str]:
        """Return every account of the host; raise as `ask`."""
        found = await self.ask("registered_users")
        if not isinstance(found, list):
            message = "The server's list of accounts cannot be read; it may be too long for one answer."
            raise RestbrokerError(message, "Name users with --user, some thousands at a time.")
        return [user for user in found if isinstance(user, str)]

    async def fetch_roster(self, name: str) -> None:
        """Fetch one user's roster, or note why it is refused; raise as `ask`."""
        answer = await self.ask("get_roster", user=name)
        # Who does not exist has no contacts either (measured on 23.01 and 24.12), and a typing error is no roster.
        if answer == [] and await self.ask("check_account", user=name) != 0:
            self.refused.append(RefusedRoster(printable(name), f"{printable(name)} has no account on {self.host}."))
            return
        try:
            user = read_user(name, self.host)
            roster, left_out = contacts_of(answer, one_sided=self.one_sided)
            require_writable(roster, user, self.host)
        except BadRoster as error:
            self.refused.append(RefusedRoster(printable(name), str(error)))
            return
        self.rosters[user] = roster
        self.left_out += left_out


def fetch(
    target: Target, host: str, users: Sequence[str], *, one_sided: bool, tell: ProgressCallback
) -> FetchedRosters:
    """Return the rosters of these users of `host`, or of all accounts if `users` is empty.

    `tell` is called with the numbers of users done and of all. Raise `ServerUnreachable`,
    `ServerRefusal`, or `RestbrokerError` if the server says no in another way.
    """
    return trio.run(partial(_fetch, target, host, users, one_sided=one_sided, tell=tell))


def contacts_of(answer: Json, *, one_sided: bool) -> tuple[Mapping[str, Contact], int]:
    """Return the roster in the answer of ejabberd's `get_roster`, and how many contacts were left out.

    A contact's groups are a list in `groups`, or the contact is there once for each `group` (measured on 23.01). Raise
    `BadRoster` if the answer is no roster.
    """
    names: dict[str, Json] = {}
    groups: dict[str, list[Json]] = {}
    left_out = set[str]()
    if not isinstance(answer, list):
        raise BadRoster("The server's answer", "is not a list of contacts; it may be too long for one answer")
    for entry in answer:
        if not isinstance(entry, Mapping):
            raise BadRoster("The server's answer", "has a contact that is not an object")
        jid = read_jid(entry.get("jid"))
        if entry.get("subscription") != "both" and not one_sided:
            left_out.add(jid)
            continue
        names[jid] = entry.get("nick")
        listed = entry.get("groups")
        more = listed if isinstance(listed, list) else [entry.get("group")]
        groups.setdefault(jid, []).extend(group for group in more if group)
    found = {jid: read_contact({"name": name, "groups": groups[jid]}, jid) for jid, name in names.items()}
    require_fit(found)
    return found, len(left_out)


async def _fetch(
    target: Target,
    host: str,
    users: Sequence[str],
    *,
    one_sided: bool,
    tell: ProgressCallback,
) -> FetchedRosters:
    http = open_transport(target)
    try:
        connector = registry.open_connector(target, Ports(lambda _: None, time.time))
        fetching = _RosterFetch(connector, DirectLink(http), host, timeout_s=target.timeout_s, one_sided=one_sided)
        names = list(users) or await fetching.users()
        await _each(fetching, names, min(_AT_ONCE, target.concurrency), tell)
    finally:
        with trio.CancelScope(shield=True):
            await http.aclose()
    ordered = {user: fetching.rosters[user] for user in sorted(fetching.rosters)}
    return FetchedRosters(FileContents(ordered, tuple(fetching.refused)), fetching.left_out)


async def _each(fetching: _RosterFetch, names: Sequence[str], at_once: int, tell: ProgressCallback) -> None:
    ahead, done = iter(names), 0

    async def work() -> None:
        nonlocal done
        for name in ahead:
            await fetching.fetch_roster(name)
            done += 1
            tell(done, len(names))

    try:
        async with trio.open_nursery() as nursery:
            for _ in range(at_once):
                nursery.start_soon(work)
    except* RestbrokerError as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[RestbrokerError]) -> RestbrokerError:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("a group is never empty")
