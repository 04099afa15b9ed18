"""The operators' actions on rosters: show, change, import and export. Called by `restbroker roster`.

Always holds: a change by hand is written to the audit log first (`operate.audit`), like all that operators do; where a
target refreshes rosters, each user whose roster changes gets a refresh job in the same step.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Final, Self

import attrs

from restbroker.config.core import Config
from restbroker.errors import UsageError
from restbroker.job.json_types import Json
from restbroker.kinds import PROSODY_ROSTER
from restbroker.light import frozen
from restbroker.operate import audit, enqueue
from restbroker.operate.audit import AuditedAction, AuditEntry
from restbroker.operate.forget import Person
from restbroker.rosters import store
from restbroker.rosters.files import RefusedRoster
from restbroker.rosters.refresh_target import RefreshTarget
from restbroker.rosters.rules import BadRoster, Contact, as_stored, read_user, require_writable, roster_of, too_large
from restbroker.rosters.store import RosterChange, RosterUnchanged, RosterVersions, UserState, in_batches
from restbroker.store.client import Client

_CONTACTS_AT_ONCE: Final = 2000
"""The most contacts in one step, during which Redis does nothing else: some milliseconds."""
_NOTE_EVERY_S: Final = 1.0
_PATIENCE_S: Final = 2.0


@frozen
class RosterView:
    """A user's roster, its state, and for each entry that cannot be served the reason (`bad`)."""

    state: UserState
    contacts: Mapping[str, Contact]
    bad: tuple[BadRoster, ...] = ()


@frozen
class ImportProgress:
    """The progress of an import: users that are `done`, how many of them `changed`, and those who were refused."""

    done: int = 0
    changed: int = 0
    refused: tuple[RefusedRoster, ...] = ()


@frozen
class RefreshResult:
    """The result of refreshes: users `done`, users who `failed` and are tried again alone, jobs still `waiting`.

    `errors` has the reasons of jobs that failed as a whole.
    """

    done: int = 0
    failed: int = 0
    waiting: int = 0
    errors: tuple[str, ...] = ()


@frozen
class Rosters:
    """The rosters of a configuration, which `who` looks at or changes. `domain` is that of the users; None: any.

    `refresh_target`: the target that tells Prosody of changes; None: there is none, and `remedy` is what to do then.
    """

    client: Client
    who: str
    domain: str | None
    refresh_target: RefreshTarget | None
    remedy: str

    @classmethod
    def make(cls, config: Config, client: Client, who: str, *, only_looks: bool) -> Self:
        """Return the rosters of a configuration; `only_looks`: changes push no refresh jobs.

        Raise `ConfigError` if no token allows a refresh.
        """
        able = [target for target in config.targets if target.kind == PROSODY_ROSTER]
        domain = config.roster.domain if config.roster is not None else None
        names = [target.name for target in able if not target.is_local]
        return cls(
            client,
            who,
            domain or next((target.default_host for target in able), None),
            None if only_looks else RefreshTarget.from_config(config),
            f'Add "Target": "{names[0]}" to Roster.' if names else f'Configure a target of "Kind": "{PROSODY_ROSTER}".',
        )

    def user(self, name: str) -> str:
        """Return whose roster this names; raise `BadRoster` if it is no user of the domain."""
        return read_user(name, self.domain)

    def change(self, verb: str, change: RosterChange) -> int:
        """Make a change, with an entry in the audit log, and return the roster's new version.

        It is 0 for a user who has no roster any more. Raise `BadRoster` or `UsageError` if it cannot be made,
        and `StoreUnavailable` if Redis does not answer; then it may have been made.
        """
        require_writable(change.put, change.user, self.domain)
        audit.write(self.client, AuditEntry(who=self.who, action=verb, place=f"roster:{change.user}"))
        done = self.write([change])
        if isinstance(done, RosterUnchanged):
            hint = f"`restbroker roster show {done.user}` shows it."
            raise UsageError(f"{too_large(done.user)} Nothing was changed.", hint)
        return done.versions[change.user]

    def refresh(self, users: Sequence[str], *, wanted: bool = False) -> list[str]:
        """Push few jobs by which Prosody refreshes these users without a debounce, and return the jobs' ids.

        `wanted`: `wait_for_refreshes` will wait for them. Raise `UsageError` if no target tells Prosody of rosters.
        """
        if self.refresh_target is None:
            raise UsageError("No target tells Prosody of rosters.", self.remedy)
        where = f"{len(users)} named"
        audit.write(self.client, AuditEntry(who=self.who, action="refresh", place="rosters", where=where))
        return self.refresh_target.push(self.client, users, now=True, wanted=wanted)

    def write(self, changes: Sequence[RosterChange]) -> RosterVersions | RosterUnchanged:
        """Make these changes as `change` does, without an entry in the audit log; return why if none was made."""
        to = self.refresh_target
        return store.change(self.client, changes, None if to is None else to.jobs([change.user for change in changes]))


def without(rosters: Rosters, person: Person) -> list[tuple[str, RosterChange]]:
    """Return the changes, each with its verb, after which no roster has this person: neither theirs nor another's."""
    users = sorted(store.users(rosters.client))
    having = zip(users, store.read(rosters.client, users), strict=True)
    changes = [
        ("remove contact", RosterChange(one, drop=(person.address,)))
        for one, has in having
        if person.address.encode() in has
    ]
    is_ours = person.name in users and rosters.domain in (None, person.host)
    return [*changes, ("delete roster", RosterChange(person.name, forget=True))] if is_ours else changes


def wait_for_refreshes(
    client: Client, jids: Sequence[str], timeout_s: float, late: Callable[[], None]
) -> RefreshResult:
    """Wait up to `timeout_s` seconds in all for the jobs that `Rosters.refresh` pushed, and return their result.

    Call `late` if one takes long. Raise `StoreUnavailable` if Redis does not answer.
    """
    deadline_s, so_far = time.monotonic() + timeout_s, RefreshResult()
    for jid in jids:
        remaining_s = max(0.0, deadline_s - time.monotonic())
        told = enqueue.wait(client, jid, min(remaining_s, _PATIENCE_S))
        if told is None and remaining_s > _PATIENCE_S:
            late()
            told = enqueue.wait(client, jid, max(0.0, deadline_s - time.monotonic()))
        if told is None:
            so_far = attrs.evolve(so_far, waiting=so_far.waiting + 1)
            continue
        answer, error = told.get("answer"), told.get("error")
        if isinstance(error, Mapping):
            why = f"{error.get('code')}: {error.get('message')}"
            so_far = attrs.evolve(so_far, failed=so_far.failed + 1, errors=(*so_far.errors, why))
        elif isinstance(answer, Mapping):
            users, failed = _count(answer.get("users"), 1), _count(answer.get("failed"), 0)
            so_far = attrs.evolve(so_far, done=so_far.done + users - failed, failed=so_far.failed + failed)
    return so_far


def _count(value: Json, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise


def show(client: Client, user: str, domain: str | None) -> RosterView:
    """Return the roster of one user of `domain`; it is empty, with version 0, for a user who has none."""
    (known,) = store.user_states(client, [user])
    (stored,) = store.read(client, [user])
    contacts, bad = roster_of(stored, user, domain)
    return RosterView(known, contacts, bad)


def export_rosters(
    client: Client, domain: str | None, only: Sequence[str], tell: Callable[[str, BadRoster], None]
) -> Iterator[tuple[str, Mapping[str, Contact]]]:
    """Yield (user, roster) for these users of `domain`, or for all if `only` is empty; all are sorted by name.

    `tell` is called with each entry that is left out.
    """
    for some in in_batches(list(only) or sorted(store.users(client)), lambda _: 1, _CONTACTS_AT_ONCE):
        for user, stored in zip(some, store.read(client, some), strict=True):
            contacts, left_out = roster_of(stored, user, domain)
            for bad in left_out:
                tell(user, bad)
            yield user, contacts


def count_changed(client: Client, rosters: Mapping[str, Mapping[str, Contact]], *, add: bool) -> int:
    """Return how many users' rosters an import of these would change now; `add` as for `import_rosters`."""
    count = 0
    for some in in_batches(list(rosters), lambda user: len(rosters[user]), _CONTACTS_AT_ONCE):
        for known, stored in zip(store.user_states(client, some), store.read(client, some), strict=True):
            wanted = {jid.encode(): as_stored(contact) for jid, contact in rosters[known.user].items()}
            is_new = any(stored.get(jid) != contact for jid, contact in wanted.items())
            count += is_new or (not add and (not known.version or not stored.keys() <= wanted.keys()))
    return count


def import_rosters(
    rosters: Rosters, found: Mapping[str, Mapping[str, Contact]], *, add: bool, source: str
) -> Generator[ImportProgress, None, None]:
    """Write rosters, each user's as a whole or not at all; yield after each batch how far it came.

    `add`: contacts that are not named stay. A caller who stops iterating stops the import; the same import again goes
    on. `source` is for the entry in the audit log.
    """
    so_far, noted_s = ImportProgress(), time.monotonic()
    with AuditedAction(
        rosters.client, AuditEntry(who=rosters.who, action="import", place="rosters", where=source)
    ) as note:
        for some in in_batches(list(found), lambda user: len(found[user]), _CONTACTS_AT_ONCE):
            so_far = _import(rosters, {user: found[user] for user in some}, so_far, add=add)
            note.done, note.entry = so_far.done, attrs.evolve(note.entry, refused=len(so_far.refused))
            if time.monotonic() >= noted_s + _NOTE_EVERY_S:
                noted_s = time.monotonic()
                note.write_progress()
            yield so_far
        note.state = "ended"


def _import(
    rosters: Rosters, found: Mapping[str, Mapping[str, Contact]], so_far: ImportProgress, *, add: bool
) -> ImportProgress:
    before = {state.user: state.version for state in store.user_states(rosters.client, list(found))}
    changes = [
        RosterChange(user, {jid: as_stored(contact) for jid, contact in roster.items()}, whole=not add)
        for user, roster in found.items()
    ]
    done = rosters.write(changes)
    # If one of them would be too large, the others are written.
    for result in [done] if isinstance(done, RosterVersions) else [rosters.write([change]) for change in changes]:
        match result:
            case RosterVersions(versions):
                changed = so_far.changed + sum(version != before[user] for user, version in versions.items())
                so_far = attrs.evolve(so_far, done=so_far.done + len(versions), changed=changed)
            case RosterUnchanged(user):
                so_far = attrs.evolve(so_far, refused=(*so_far.refused, RefusedRoster(user, too_large(user))))
    return so_far
