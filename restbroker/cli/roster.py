"""`restbroker roster`: show, change, import, export and serve the rosters in Redis that Prosody is served.

Always holds: nothing is changed when the command line has a mistake in it; where a target tells Prosody of rosters,
each user whose roster changes gets a refresh job; an import writes a user's roster as a whole or not at all, and
reports each that it refused.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Final

import attrs
import typer

from restbroker.config.values import duration_text
from restbroker.console import columns, completion, output
from restbroker.console.arguments import bytes_of
from restbroker.console.columns import Column, cell
from restbroker.console.confirmation import confirm
from restbroker.console.exits import Exit
from restbroker.console.lists import ListsFirst
from restbroker.console.load_config import load_quietly, load_to_serve, print_notices
from restbroker.console.options import (
    AllOption,
    ConfigOption,
    DryRunOption,
    JsonLogsOption,
    LimitOption,
    Output,
    TimeoutOption,
    WaitOption,
    YesOption,
    argument,
    command,
    option,
)
from restbroker.console.output import counted
from restbroker.console.private_file import write_pieces
from restbroker.console.progress import progress
from restbroker.console.times import waiting_s
from restbroker.console.who import who
from restbroker.errors import ConfigError, RestbrokerError, UsageError
from restbroker.job import rubyjson
from restbroker.operate.connect import open_store
from restbroker.operate.enqueue import why_waiting
from restbroker.rosters import files, operate, store
from restbroker.rosters.files import FileContents
from restbroker.rosters.operate import ImportProgress, RefreshResult, Rosters
from restbroker.rosters.rules import (
    BadRoster,
    Contact,
    as_json,
    as_stored,
    read_contact,
    read_jid,
    read_roster,
    require_writable,
)
from restbroker.rosters.store import RosterChange, UserState

app = typer.Typer(
    cls=ListsFirst,
    add_completion=False,
    help="Show, change, import or export the rosters served to Prosody. Without a command: list.",
)

User = Annotated[str, argument("USER", "Whose roster: john, or john@example.org.")]
Jid = Annotated[str, argument("JID", "The contact's address: ann@example.org.")]
_MOST_TOLD: Final = 50


@contextmanager
def _open(path: Path | None, *, only_looks: bool = False) -> Iterator[Rosters]:
    """Open the rosters of a configuration for the block; `only_looks`: changes push no refresh jobs.

    `path`: the configuration file; None: the default one. Raise `ConfigError` if it cannot be used, and `UsageError`
    where the block raises `BadRoster`.
    """
    settings = load_quietly(path, "Roster")
    with open_store(settings) as client:
        try:
            yield Rosters.make(settings, client, who(), only_looks=only_looks)
        except BadRoster as error:
            raise UsageError(f"{error.entry} {error.why}.", error.hint or None) from None


def _change(rosters: Rosters, verb: str, change: RosterChange) -> None:
    version = rosters.change(verb, change)
    output.say(f"{change.user}: version {version}." if version else f"{change.user} has no roster any more.")
    _note_change(rosters)


def _note_change(rosters: Rosters) -> None:
    """Say so if no target tells Prosody of a change."""
    if rosters.refresh_target is None:
        output.say(f"note: no target tells Prosody of it: clients see it at their next login. {rosters.remedy}")


def _note_waiting(rosters: Rosters, said: str | None = None) -> str | None:
    """Say why refreshes wait, and return it, unless that was `said` already."""
    to = rosters.refresh_target
    why = None if to is None else why_waiting(rosters.client, to.queue, to.target.name)
    if why is not None and why != said:
        output.say(f"note: {why}")
    return why or said


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


@command(app, "list")
def list_rosters(*, limit: LimitOption = 100, how: Output) -> None:
    """Show users with rosters and their number of contacts.

    The state says whether Prosody still has to learn of a change.
    In a pipe each line is: user, contacts, version, bytes, state, for how long a change has been waiting (seconds).
    """
    with _open(how.config, only_looks=True) as rosters:
        found = store.user_states(rosters.client, sorted(store.users(rosters.client))[:limit])
        total, dirty = store.counts(rosters.client)
    columns.show(_COLUMNS, found, as_json=how.json)
    more = f"{len(found)} of " if len(found) < total else ""
    output.say(f"{more}{counted(total, 'roster')}; {counted(dirty, 'user')} to be refreshed.")


@command(app)
def show(user: User, how: Output) -> None:
    """Show one roster. With --json in the form that `set` takes.

    In a pipe each line is: JID, name, groups with commas between them.
    """
    with _open(how.config, only_looks=True) as rosters:
        found = operate.show(rosters.client, rosters.user(user), rosters.domain)
    if how.json:
        output.as_json(as_json(found.contacts))
    elif found.state.is_there:
        ordered = sorted(found.contacts.items())
        columns.rows(("JID", "NAME", "GROUPS"), ((jid, peer.name or "-", cell(peer.groups)) for jid, peer in ordered))
    for bad in found.bad:
        output.say(f"Not served: {bad}")
    waits = "" if _state(found.state) == "-" else f", {_state(found.state)}"
    if found.state.is_there:
        output.say(f"{counted(len(found.contacts), 'contact')}, version {found.state.version}{waits}.")
    else:
        output.say(f"{found.state.user} has no roster{waits}.")
    if not found.state.version:
        raise typer.Exit(Exit.FAILED)


@command(app, "set")
def set_roster(
    user: User,
    file: Annotated[Path, argument("FILE", 'JSON: {"JID": {"name": …, "groups": […]}}; - is stdin.', completion.paths)],
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
) -> None:
    """Replace a user's whole roster."""
    with _open(config) as rosters:
        try:
            contacts = read_roster(rubyjson.loads(bytes_of(file)))
        except rubyjson.Unreadable as error:
            hint = "`restbroker roster show USER --json` shows one; `import` takes rosters of many users."
            raise UsageError(f"{file} is not JSON: {error}.", hint) from None
        name = rosters.user(user)
        require_writable(contacts, name, rosters.domain)
        if dry_run:
            before = set(operate.show(rosters.client, name, rosters.domain).contacts)
            gone, new = len(before - set(contacts)), len(set(contacts) - before)
            output.say(f"{name} would have {counted(len(contacts), 'contact')}: {new} new, {gone} gone.")
            return
        stored = {jid: as_stored(contact) for jid, contact in contacts.items()}
        _change(rosters, "set roster", RosterChange(name, stored, whole=True))


@command(app)
def add(
    user: User,
    jid: Jid,
    name: Annotated[str | None, option("--name TEXT", "The contact's name for this user.")] = None,
    group: Annotated[list[str] | None, option("--group TEXT", "A group of the contact; may be repeated.")] = None,
    config: ConfigOption = None,
) -> None:
    """Add or replace a contact."""
    with _open(config) as rosters:
        contact = read_contact({"name": name, "groups": list(group or ())}, read_jid(jid))
        _change(rosters, "add contact", RosterChange(rosters.user(user), {jid: as_stored(contact)}))


@command(app)
def remove(
    user: User,
    jids: Annotated[list[str], argument("JID...", "The contacts' addresses.")],
    config: ConfigOption = None,
) -> None:
    """Remove contacts; missing ones count as removed."""
    with _open(config) as rosters:
        drop = tuple(dict.fromkeys(map(read_jid, jids)))
        _change(rosters, "remove contact", RosterChange(rosters.user(user), drop=drop))


@command(app)
def delete(user: User, dry_run: DryRunOption = False, yes: YesOption = False, config: ConfigOption = None) -> None:
    """Delete a user's roster completely, so that they count as having none."""
    with _open(config) as rosters:
        found = operate.show(rosters.client, rosters.user(user), rosters.domain).state
        of = f"roster of {found.user} with {counted(found.contacts, 'contact')}"
        if not found.is_there:
            output.say(f"{found.user} has no roster.")
        elif dry_run:
            output.say(f"The {of} would be deleted.")
        else:
            confirm(f"Delete the {of}?", yes=yes)
            _change(rosters, "delete roster", RosterChange(found.user, forget=True))


@command(app)
def refresh(
    context: typer.Context,
    users: Annotated[list[str] | None, argument("[USER]...", "Whose roster.")] = None,
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
    with _open(config) as rosters:
        named = list(dict.fromkeys(map(rosters.user, users or ()))) or sorted(store.users(rosters.client))
        if dry_run:
            output.say(f"{counted(len(named), 'user')} would be refreshed.")
            return
        said = _note_waiting(rosters)
        jids = rosters.refresh(named, wanted=wait)
        if not wait:
            output.say(f"{counted(len(named), 'user')} will be refreshed.")
            return
        without = [] if every else _without_roster(rosters, named)

        def late() -> None:
            nonlocal said
            said = _note_waiting(rosters, said)

        found = operate.wait_for_refreshes(rosters.client, jids, timeout_s, late)
    _conclude_refresh(found, without, timeout_s)


def _without_roster(rosters: Rosters, named: Sequence[str]) -> list[str]:
    return [state.user for state in store.user_states(rosters.client, named) if not state.is_there]


def _conclude_refresh(found: RefreshResult, without: Sequence[str], timeout_s: float) -> None:
    """Print what became of refreshes, and exit with its code unless all succeeded. `without`: who has no roster."""
    failed = f", {found.failed} failed" if found.failed else ""
    # Its answer counts users who are offline or unknown, too.
    unknown = " Prosody does not say which of them are online, or exist." if found.done else ""
    output.say(f"{counted(found.done, 'user')} refreshed{failed}.{unknown}")
    if without:
        output.say(f"Without a roster: {', '.join(without)}.")
    for why in dict.fromkeys(found.errors):
        output.say(why)
    if found.failed and not found.errors:
        output.say("restbroker retries the users who failed, one by one: `restbroker retries list` shows them and why.")
    if found.waiting:
        after = duration_text(timeout_s)
        output.say(f"After {after}, {counted(found.waiting, 'job')} had not ended; they stay queued.")
        raise typer.Exit(Exit.WAITING)
    if found.failed:
        raise typer.Exit(Exit.PARTLY if found.done else Exit.FAILED)


@command(app, "import")
def import_(
    *,
    file: Annotated[Path, argument("FILE", "NDJSON as `export` writes it; - is stdin.", completion.paths)],
    add: Annotated[bool, option("--add", "Keep contacts that the file does not name. (default: replace)")] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    how: Output,
) -> None:
    """Write rosters of many users from a file, a user a line: {"user": "john", "contacts": {"JID": {}}}.

    If any part of a user's roster is wrong, none of it is written, and the command exits with 7. The same import again
    does no harm.
    """
    with _open(how.config) as rosters:
        found = files.read(bytes_of(file), rosters.domain)
        for roster in found.refused[:_MOST_TOLD]:
            user = "" if roster.what.startswith(roster.user) else f"{roster.user}: "
            output.say(f"line {roster.line}: {user}{roster.what}")
        if len(found.refused) > _MOST_TOLD:
            output.say(f"… and {len(found.refused) - _MOST_TOLD} more.")
        if found.is_other:
            output.say(files.OTHER_FILES)
        if dry_run:
            changed = operate.count_changed(rosters.client, found.rosters, add=add)
            done = ImportProgress(len(found.rosters), changed)
        else:
            done = _import(rosters, found.rosters, str(file), add=add, yes=yes)
            if done.changed:
                _note_change(rosters)
    _conclude_import(found, done, dry_run=dry_run, as_json=how.json)


def _import(
    rosters: Rosters, found: Mapping[str, Mapping[str, Contact]], source: str, *, add: bool, yes: bool
) -> ImportProgress:
    """Ask and write; at Ctrl-C or an error of Redis, print how far it came and raise that."""
    so_far = ImportProgress()
    if not found:
        return so_far
    replaced = 0 if add else sum(state.contacts > 0 for state in store.user_states(rosters.client, list(found)))
    if replaced:
        confirm(f"Replace the rosters of {counted(replaced, 'user')}?", yes=yes)
    with closing(operate.import_rosters(rosters, found, add=add, source=source)) as steps:
        try:
            with progress() as show:
                for so_far in steps:
                    show(so_far.done, len(found), f"{counted(so_far.done, 'roster')} written")
        except (KeyboardInterrupt, RestbrokerError):
            output.say(f"{counted(so_far.done, 'roster')} written. Run the same command again for the rest.")
            raise
    return so_far


def _conclude_import(found: FileContents, done: ImportProgress, *, dry_run: bool, as_json: bool) -> None:
    """Print what became of an import, and exit with its code unless every roster was good."""
    for roster in done.refused:
        output.say(f"{roster.user}: {roster.what}")
    contacts = sum(map(len, found.rosters.values()))
    refused = [*found.refused, *done.refused]
    if as_json:
        written = 0 if dry_run else done.done
        output.as_json({"dry_run": dry_run, "users": len(found.rosters), "contacts": contacts, "written": written,
                        "changed": done.changed, "refused": [attrs.asdict(roster) for roster in refused]})  # fmt: skip
    changed = f", {done.changed} of them {'would change' if dry_run else 'changed'}"
    verb = "would be written" if dry_run else "written"
    # A line that names no one counts by itself.
    users = len({roster.user or roster.line for roster in refused})
    refused_too = f"; {counted(users, 'user')} refused" if users else ""
    output.say(f"{counted(done.done, 'roster')} with {counted(contacts, 'contact')} {verb}{changed}{refused_too}.")
    if refused:
        raise typer.Exit(Exit.PARTLY if found.rosters else Exit.FAILED)


@command(app)
def export(
    file: Annotated[Path, argument("[FILE]", "A new file; - is stdout.", completion.paths)] = Path("-"),
    user: Annotated[list[str] | None, option("--user USER", "Only this user; may be repeated.")] = None,
    config: ConfigOption = None,
) -> None:
    """Write all rosters as NDJSON to a file or to stdout.

    Only you may read the file. Exits with 7 if a named user has no roster, with 1 if none has one.
    """
    written = Counter[str]()

    def lines(rosters: Rosters, only: Sequence[str]) -> Iterator[str]:
        for name, roster in operate.export_rosters(rosters.client, rosters.domain, only, _print_omitted):
            written.update(rosters=1, contacts=len(roster))
            yield files.write(name, roster)

    with _open(config, only_looks=True) as rosters:
        named = list(dict.fromkeys(map(rosters.user, user or ())))
        without = _without_roster(rosters, named)
        for name in without:
            output.say(f"{name} has no roster.")
        only = [name for name in named if name not in without]
        if without and not only:
            raise typer.Exit(Exit.FAILED)
        if str(file) == "-":
            output.pieces(lines(rosters, only))
        else:
            write_pieces(file, lines(rosters, only))
    output.say(f"{counted(written['rosters'], 'roster')} with {counted(written['contacts'], 'contact')} written.")
    if without:
        raise typer.Exit(Exit.PARTLY)


@command(app)
def serve(
    stats: Annotated[bool, option("--stats", "Serve the web pages and /metrics too.")] = False,
    json_logs: JsonLogsOption = False,
    config: ConfigOption = None,
) -> None:
    """Serve rosters to Prosody, and deliver nothing.

    Stops on SIGTERM or Ctrl-C. The section Roster of the configuration says what is served where. SIGHUP reloads it.
    """
    found, load = load_to_serve(config)
    if found.config.roster is None:
        raise ConfigError(
            "The configuration has no section Roster, which says where to serve rosters.", 'Add "Roster": {}.'
        )
    print_notices(found)
    # Trio and the web libraries take long to import: not for `--help` or a wrong configuration.
    from restbroker.app.no_delivery import serve as run

    run(found.config, load, {"rosters", "pages"} if stats else {"rosters"}, json_logs=json_logs)


def _print_omitted(user: str, bad: BadRoster) -> None:
    output.say(f"Left out of the roster of {user}: {bad}")
