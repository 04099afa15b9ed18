"""`restbroker roster`: show, change, import and export the rosters in Redis that Prosody is served.

Always holds: nothing is changed when the command line has a mistake in it; where a target tells Prosody of rosters,
each user whose roster changes gets a refresh job.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import typer

from restbroker.config.values import duration_text
from restbroker.console import columns, completion, output
from restbroker.console.columns import Column, cell
from restbroker.console.confirmation import confirm
from restbroker.console.exits import Exit
from restbroker.console.groups import Output, command
from restbroker.console.lists import ListsFirst
from restbroker.console.load_config import ConfigOption
from restbroker.console.options import (
    AllOption,
    DryRunOption,
    LimitOption,
    TimeoutOption,
    WaitOption,
    YesOption,
)
from restbroker.console.waiting import waiting_s
from restbroker.errors import UsageError
from restbroker.job import rubyjson
from restbroker.rosters import files as roster_files
from restbroker.rosters import operate
from restbroker.rosters.command_connection import (
    RosterConnection,
    WaitNotice,
    count_text,
    note_missing_refresh_target,
    open_rosters,
    require_refresh_target,
    usage_errors,
)
from restbroker.rosters.command_files import export, import_, read_file
from restbroker.rosters.files import BadFile, loads
from restbroker.rosters.rules import (
    BadRoster,
    Contact,
    as_json,
    as_stored,
    read_contact,
    read_jid,
    read_roster,
    read_user,
    require_writable,
)
from restbroker.rosters.store import UserState
from restbroker.servers.roster_change import Change

app = typer.Typer(
    cls=ListsFirst,
    add_completion=False,
    help="Show, change, import or export the rosters served to Prosody. Without a command: list.",
)

User = Annotated[str, typer.Argument(metavar="USER", help="Whose roster: john, or john@example.org.")]
Jid = Annotated[str, typer.Argument(metavar="JID", help="The contact's address: ann@example.org.")]
NameOption = Annotated[str | None, typer.Option("--name", metavar="TEXT", help="The contact's name for this user.")]
GroupOption = Annotated[
    list[str] | None, typer.Option("--group", metavar="TEXT", help="A group of the contact; may be repeated.")
]


@command(app, "list")
def list_rosters(*, limit: LimitOption = 100, how: Output) -> None:
    """Show users with rosters and their number of contacts.

    The state says whether Prosody still has to learn of a change.
    In a pipe each line is: user, contacts, version, bytes, state, for how long a change has been waiting (seconds).
    """
    with open_rosters(how.config, only_looks=True) as connection:
        found = list(islice(operate.list_users(connection.writer.client), limit))
        total, dirty = operate.counts(connection.writer.client)
    columns.show(_COLUMNS, found, as_json=how.json)
    more = f"{len(found)} of " if len(found) < total else ""
    output.say(f"{more}{count_text(total, 'roster')}; {count_text(dirty, 'user')} to be refreshed.")


@command(app)
def show(user: User, how: Output) -> None:
    """Show one roster. With --json in the form that `set` takes.

    In a pipe each line is: JID, name, groups with commas between them.
    """
    with open_rosters(how.config, only_looks=True) as connection, usage_errors():
        found = operate.show(connection.writer.client, read_user(user, connection.domain), connection.domain)
    if how.json:
        output.as_json(as_json(found.contacts))
    elif found.state.is_there:
        ordered = sorted(found.contacts.items())
        output.table(
            ("JID", "NAME", "GROUPS"),
            ((jid, one.name or "-", cell(one.groups)) for jid, one in ordered),
        )
    for bad in found.bad:
        output.say(f"Not served: {bad}")
    state = _state(found.state)
    waits = "" if state == "-" else f", {state}"
    if found.state.is_there:
        output.say(f"{count_text(len(found.contacts), 'contact')}, version {found.state.version}{waits}.")
    else:
        output.say(f"{found.state.user} has no roster{waits}.")
    if not found.state.version:
        raise typer.Exit(Exit.FAILED)


@app.command("set")
def set_roster(
    user: User,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help='JSON: {"JID": {"name": …, "groups": […]}}; - is stdin.',
            autocompletion=completion.paths,
        ),
    ],
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
) -> None:
    """Replace a user's whole roster."""
    with usage_errors():
        contacts = _read(file)
    with open_rosters(config) as connection, usage_errors():
        change = Change(read_user(user, connection.domain), _as_stored(contacts), whole=True)
        require_writable(contacts, change.user, connection.domain)
        if dry_run:
            before = set(operate.show(connection.writer.client, change.user, connection.domain).contacts)
            gone, new = len(before - set(contacts)), len(set(contacts) - before)
            output.say(f"{change.user} would have {count_text(len(contacts), 'contact')}: {new} new, {gone} gone.")
            return
        _change(connection, "set roster", change)


@app.command()
def add(user: User, jid: Jid, name: NameOption = None, group: GroupOption = None, config: ConfigOption = None) -> None:
    """Add or replace a contact."""
    with open_rosters(config) as connection, usage_errors():
        _change(connection, "add contact", Change(read_user(user, connection.domain), _contact(jid, name, group)))


@app.command()
def remove(
    user: User,
    jids: Annotated[list[str], typer.Argument(metavar="JID...", help="The contacts' addresses.")],
    config: ConfigOption = None,
) -> None:
    """Remove contacts; missing ones count as removed."""
    with open_rosters(config) as connection, usage_errors():
        drop = tuple(dict.fromkeys(map(read_jid, jids)))
        _change(connection, "remove contact", Change(read_user(user, connection.domain), drop=drop))


@app.command()
def delete(user: User, dry_run: DryRunOption = False, yes: YesOption = False, config: ConfigOption = None) -> None:
    """Delete a user's roster completely, so that they count as having none."""
    with open_rosters(config) as connection, usage_errors():
        user = read_user(user, connection.domain)
        found = operate.show(connection.writer.client, user, connection.domain).state
        if not found.is_there:
            output.say(f"{user} has no roster.")
            return
        if dry_run:
            output.say(f"The roster of {user} with {count_text(found.contacts, 'contact')} would be deleted.")
            return
        confirm(f"Delete the roster of {user} with {count_text(found.contacts, 'contact')}?", yes=yes)
        _change(connection, "delete roster", Change(user, forget=True))


@app.command()
def refresh(
    context: typer.Context,
    users: Annotated[list[str] | None, typer.Argument(metavar="[USER]...", help="Whose roster.")] = None,
    every: AllOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = "60s",
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
) -> None:
    """Make Prosody reload rosters, whether they changed or not.

    With --wait it ends with 0: all are refreshed; 1: none; 6: timeout, they stay queued; 7: not all.
    """
    if bool(users) == every:
        wrong = "Users are named, and --all is given." if every else "No user is given."
        raise UsageError(wrong, "Name users, or use --all alone: restbroker roster refresh john aaron")
    timeout_s = waiting_s(context, timeout, waits=wait)
    with open_rosters(config) as connection, usage_errors():
        client = connection.writer.client
        named = list(dict.fromkeys(read_user(user, connection.domain) for user in users or ())) or sorted(
            operate.users(client)
        )
        if not dry_run:
            require_refresh_target(connection)
            tell = WaitNotice(connection.writer)
            tell()
            jids = connection.writer.refresh(named, wanted=wait)
            if wait:
                without = [] if every else operate.without_roster(client, named)
                _conclude(operate.wait_for_refreshes(client, jids, timeout_s, tell), without, timeout_s)
                return
    output.say(f"{count_text(len(named), 'user')} {'would' if dry_run else 'will'} be refreshed.")


def _conclude(found: operate.RefreshResult, without: Sequence[str], timeout_s: float) -> None:
    """Print what became of refreshes, and exit with its code unless all succeeded. `without`: who has no roster."""
    failed = f", {found.failed} failed" if found.failed else ""
    # Its answer counts users who are offline or unknown, too.
    unknown = " Prosody does not say which of them are online, or exist." if found.done else ""
    output.say(f"{count_text(found.done, 'user')} refreshed{failed}.{unknown}")
    if without:
        output.say(f"Without a roster: {', '.join(without)}.")
    for why in dict.fromkeys(found.errors):
        output.say(why)
    if found.failed and not found.errors:
        output.say("restbroker retries the users who failed, one by one: `restbroker retries list` shows them and why.")
    if found.waiting:
        after = duration_text(timeout_s)
        output.say(f"After {after}, {count_text(found.waiting, 'job')} had not ended; they stay queued.")
        raise typer.Exit(Exit.WAITING)
    if found.failed:
        raise typer.Exit(Exit.PARTLY if found.done else Exit.FAILED)


app.command("import")(import_)
app.command("export")(export)


def _change(connection: RosterConnection, verb: str, *changes: Change) -> None:
    for one in changes:
        require_writable(one.put, one.user, connection.domain)
    versions = connection.writer.change(verb, changes)
    for user, version in versions.items():
        output.say(f"{user}: version {version}." if version else f"{user} has no roster any more.")
    note_missing_refresh_target(connection)


def _read(file: Path) -> Mapping[str, Contact]:
    raw = read_file(file)
    try:
        return read_roster(loads(raw))
    except rubyjson.Unreadable as error:
        raise UsageError(f"{file} is not JSON: {error}.", "`restbroker roster show USER --json` shows one.") from None
    except BadRoster:
        if _has_users(raw):
            hint = f"`restbroker roster import {file}` takes it; `set` takes one roster."
            raise UsageError(f"{file} has rosters of users, as `export` writes them.", hint) from None
        raise


def _has_users(raw: bytes) -> bool:
    """Tell whether this is a whole file of rosters, with a contact in one of them."""
    try:
        return any(roster_files.read(raw, "json", None).rosters.values())
    except BadFile:
        return False


def _contact(jid: str, name: str | None, groups: Sequence[str] | None) -> dict[str, bytes]:
    checked = read_jid(jid)
    return {checked: as_stored(read_contact({"name": name, "groups": list(groups or ())}, checked))}


def _as_stored(contacts: Mapping[str, Contact]) -> dict[str, bytes]:
    return {jid: as_stored(contact) for jid, contact in contacts.items()}


def _state(one: UserState) -> str:
    return "refreshing" if one.flying_s is not None else "to be refreshed" if one.dirty_s is not None else "-"


_COLUMNS: Final[Sequence[Column[UserState]]] = (
    Column("USER", lambda one: one.user),
    Column("CONTACTS", lambda one: one.contacts, numbers=True),
    Column("VERSION", lambda one: one.version, numbers=True),
    Column("BYTES", lambda one: one.size_bytes, numbers=True),
    Column("STATE", _state),
    Column("WAITING", lambda one: one.dirty_s, lambda one: "-" if one.dirty_s is None else duration_text(one.dirty_s)),
)
