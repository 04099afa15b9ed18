"""Random histories of rosters: the store does what a reference does, and a changed user has a refresh ahead.

Answers get lost and scripts are sent twice, refreshes fail, outlive their leases and end late, processes die with jobs
in progress. A job here is just its user's name; what the core does with jobs (retries, giving back) is done by hand.
"""

from collections.abc import Mapping, Sequence

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from restbroker.rosters import store as rosters
from restbroker.rosters.store import RefreshDelay, RefreshJobs, RosterChange, RosterVersions
from restbroker.store.client import Client, open_client
from tests.model.histories import run_histories
from tests.store.pools import Server
from tests.support.roster_claims import claim, end_refreshes

USERS, JIDS = ("a", "b"), ("x@y.z", "v@y.z")
WANTED = RefreshJobs("rosters", {user: user.encode() for user in USERS})
QUEUE, DIRTY, CLAIMS = "ns:queue:rosters", "ns:restbroker:roster:dirty", "ns:restbroker:roster:flights"
LEASE_MS = 600_000
AT_ONCE = RefreshDelay(0, 0)
CHANGES = st.builds(
    RosterChange,
    st.sampled_from(USERS),
    st.dictionaries(st.sampled_from(JIDS), st.sampled_from([b"{}", b'{"name":"N"}'])),
    st.lists(st.sampled_from(JIDS), max_size=2).map(tuple),
    whole=st.booleans(),
    forget=st.sampled_from([False, False, False, True]),
)
TWICE = st.booleans()


@attrs.frozen
class Roster:
    """What there is of a user."""

    contacts: Mapping[str, bytes] = attrs.Factory(dict)
    version: int = 0

    def after(self, change: RosterChange) -> "Roster":
        """What there is of him then."""
        if change.forget:
            return Roster()
        dropped = set(self.contacts if change.whole else change.drop) - set(change.put)
        contacts = {jid: contact for jid, contact in self.contacts.items() if jid not in dropped} | dict(change.put)
        is_new = contacts != self.contacts or (change.whole and not self.version)
        return Roster(contacts, self.version + is_new)


@attrs.frozen
class Refresh:
    """A job in progress whose refresh has begun."""

    user: str
    holder: str


class Histories(RuleBasedStateMachine):
    """The store and what must be true of it."""

    server: Server
    client: Client

    @initialize()
    def begin(self) -> None:
        self.server.raw.flushall()
        self.client = open_client(self.server.settings)
        self.rosters = dict.fromkeys(USERS, Roster())
        self.queue: list[str] = []
        self.marked, self.behind = set[str](), set[str]()
        self.claims: dict[str, str] = {}
        self.overdue = set[str]()
        self.refreshes: list[Refresh] = []
        self.holders = 0

    def teardown(self) -> None:
        if hasattr(self, "client"):
            self.client.close()

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=2, unique_by=lambda one: one.user), twice=TWICE)
    def change(self, changes: Sequence[RosterChange], twice: bool) -> None:
        expected = self.changed(changes)
        assert rosters.change(self.client, changes, WANTED) == expected
        if twice:
            assert self.changed(changes) == expected
            assert rosters.change(self.client, changes, WANTED) == expected

    def changed(self, changes: Sequence[RosterChange]) -> RosterVersions:
        """What comes of it here."""
        after = self.rosters | {change.user: self.rosters[change.user].after(change) for change in changes}
        for change in changes:
            before, then = self.rosters[change.user], after[change.user]
            if before.contacts != then.contacts or (change.forget and before.version):
                self.due(change.user)
        self.rosters = after
        return RosterVersions({change.user: after[change.user].version for change in changes})

    def due(self, user: str) -> None:
        """He is to be refreshed."""
        self.behind.add(user)
        if user not in self.marked:
            self.marked.add(user)
            self.queue.append(user)

    @rule(users=st.lists(st.sampled_from(USERS), unique=True), twice=TWICE)
    def mark(self, users: Sequence[str], twice: bool) -> None:
        for _ in range(1 + twice):
            rosters.mark(self.client, users, WANTED)
        for user in users:
            self.due(user)

    @precondition(lambda self: self.queue)
    @rule(twice=TWICE)
    def take(self, twice: bool) -> None:
        user = self.server.raw.rpop(QUEUE).decode()
        assert user == self.queue.pop(0)
        is_busy = user in self.claims and user not in self.overdue
        self.holders += 1
        holder = f"h {self.holders}"
        for _ in range(1 + twice):
            wait_ms = claim(self.client, [user], holder, LEASE_MS, AT_ONCE)[user]
            assert wait_ms < 0 if is_busy else wait_ms == 0
        if is_busy:
            self.give_back(user)
            return
        self.claims[user] = holder
        self.overdue.discard(user)
        self.marked.discard(user)
        self.behind.discard(user)
        self.refreshes.append(Refresh(user, holder))

    def give_back(self, user: str) -> None:
        """His job comes again."""
        self.server.raw.lpush(QUEUE, user)
        self.queue.append(user)

    @precondition(lambda self: self.refreshes)
    @rule(place=st.integers(0, 5), fails=st.booleans(), twice=TWICE)
    def land(self, place: int, fails: bool, twice: bool) -> None:
        refresh = self.refreshes.pop(place % len(self.refreshes))
        own = self.claims.get(refresh.user) == refresh.holder
        done, again = ((), (refresh.user,)) if fails else ((refresh.user,), ())
        assert end_refreshes(self.client, refresh.holder, done, again) == own
        if twice:
            assert end_refreshes(self.client, refresh.holder, done, again) == 0
        if own:
            del self.claims[refresh.user]
            self.overdue.discard(refresh.user)
        if fails:
            self.behind.add(refresh.user)
            self.give_back(refresh.user)
            if own:
                self.marked.add(refresh.user)

    @precondition(lambda self: self.refreshes)
    @rule(place=st.integers(0, 5), dies=st.booleans())
    def outlive_the_lease(self, place: int, dies: bool) -> None:
        refresh = self.refreshes[place % len(self.refreshes)]
        if self.claims.get(refresh.user) == refresh.holder:
            self.server.raw.hset(CLAIMS, refresh.user, f"1 {refresh.holder}")
            self.overdue.add(refresh.user)
        if dies:
            self.refreshes.remove(refresh)
            self.behind.add(refresh.user)
            self.give_back(refresh.user)

    @invariant()
    def the_store_has_what_the_reference_has(self) -> None:
        if not hasattr(self, "rosters"):
            return
        for user, stored, known in zip(
            USERS, rosters.read(self.client, USERS), rosters.user_states(self.client, USERS), strict=True
        ):
            roster = self.rosters[user]
            assert stored == {jid.encode(): contact for jid, contact in roster.contacts.items()}
            size_bytes = sum(len(jid) + len(contact) for jid, contact in roster.contacts.items())
            assert (known.version, known.contacts, known.size_bytes) == (
                roster.version,
                len(roster.contacts),
                size_bytes,
            )
            assert (known.dirty_s is not None, known.flying_s is not None) == (
                user in self.marked,
                user in self.claims and user not in self.overdue,
            )
        assert [job.decode() for job in self.server.raw.lrange(QUEUE, 0, -1)[::-1]] == self.queue

    @invariant()
    def a_user_prosody_has_to_refresh_has_a_job_ahead(self) -> None:
        if hasattr(self, "behind"):
            assert self.behind <= set(self.queue)


def test_every_history_leaves_changed_rosters_a_refresh_ahead(server: Server) -> None:
    run_histories(Histories, server, histories=15, steps=30)
