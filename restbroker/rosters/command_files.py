"""`restbroker roster import` and `export`: rosters of many users from and to files.

Rosters also come out of a running ejabberd, and out of what Prosody keeps itself. Always holds: an import writes a
user's roster as a whole or not at all, and reports each that it refused.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final, get_args

import attrs
import typer

from restbroker.config.target import Target
from restbroker.console import completion, output
from restbroker.console.confirmation import confirm
from restbroker.console.exits import Exit
from restbroker.console.load_config import ConfigOption
from restbroker.console.options import DryRunOption, JsonOption, YesOption
from restbroker.console.private_file import write_pieces
from restbroker.errors import RestbrokerError, UsageError
from restbroker.rosters import files as roster_files
from restbroker.rosters import operate
from restbroker.rosters.command_connection import (
    RosterConnection,
    count_text,
    note_missing_refresh_target,
    open_rosters,
    usage_errors,
)
from restbroker.rosters.files import BadFile, FileContents, Format, RefusedRoster
from restbroker.rosters.operate import ImportProgress
from restbroker.rosters.rules import BadRoster, Contact, read_user

_TELL_EVERY_S: Final = 2.0
_MOST_TOLD: Final = 50
FormatOption = Annotated[
    str | None,
    typer.Option("--format", metavar="FORMAT", help="json, ndjson or csv. (default: by the file's name, else json)"),
]
UserOption = Annotated[
    list[str] | None,
    typer.Option("--user", metavar="USER", help="Only this user; may be repeated. To import, only with --from-target."),
]


def import_(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="A file as `export` writes it; - is stdin.", autocompletion=completion.paths
        ),
    ] = None,
    format_: FormatOption = None,
    from_target: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET",
            help="Read from this target instead, which must be of kind ejabberd; for Prosody: --from-prosody.",
            autocompletion=completion.targets,
        ),
    ] = None,
    from_prosody: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Read Prosody's internal storage: /var/lib/prosody/example%2eorg/roster.",
            autocompletion=completion.paths,
        ),
    ] = None,
    user: UserOption = None,
    one_sided: Annotated[
        bool, typer.Option("--one-sided", help="From a server, include contacts whose subscription is not both.")
    ] = False,
    add: Annotated[
        bool, typer.Option("--add", help="Keep contacts that the input does not name. (default: replace)")
    ] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Write rosters of many users from a file, a running ejabberd, or Prosody's own storage.

    If any part of a user's roster is wrong, none of it is written, and the command exits with 7. The same import again
    does no harm.
    """
    if [file, from_target, from_prosody].count(None) != 2:
        why = "Name one of: a file, --from-target, --from-prosody."
        raise UsageError(why, "For example: restbroker roster import rosters.csv")
    if from_target is None and user:
        raise UsageError("--user needs --from-target.", "Leave it out.")
    if file is not None and one_sided:
        raise UsageError("--one-sided needs --from-target or --from-prosody.", "Leave it out.")
    with open_rosters(config) as connection:
        if file is not None:
            found = _of_file(file, _format(file, format_), connection)
        elif from_prosody is not None:
            found = _of_prosody(from_prosody, connection, one_sided=one_sided)
        else:
            found = _of_target(connection, _target(connection, from_target), user or [], one_sided=one_sided)
        _print_refused(found.refused)
        source = from_target or str(from_prosody or file)
        if dry_run:
            changed = operate.count_changed(connection.writer.client, found.rosters, add=add)
            done = ImportProgress(len(found.rosters), changed=changed)
        else:
            done = _import(connection, found.rosters, source, add=add, yes=yes)
    _conclude(found, done, dry_run=dry_run, as_json=json)
    if not dry_run and done.changed:
        note_missing_refresh_target(connection)
    refused = len(found.refused) + len(done.refused)
    if refused:
        raise typer.Exit(Exit.PARTLY if found.rosters else Exit.FAILED)


def export(
    file: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="A new file; - is stdout.", autocompletion=completion.paths)
    ] = Path("-"),
    format_: FormatOption = None,
    user: UserOption = None,
    config: ConfigOption = None,
) -> None:
    """Write all rosters to a file or to stdout.

    Only you may read the file. Exits with 7 if a named user has no roster, with 1 if none has one.
    """
    form = _format(file, format_)
    with open_rosters(config, only_looks=True) as connection, usage_errors():
        named = list(dict.fromkeys(read_user(name, connection.domain) for name in user or ()))
        users_without_roster = operate.users_without_roster(connection.writer.client, named)
        for name in users_without_roster:
            output.say(f"{name} has no roster.")
        only = [name for name in named if name not in users_without_roster]
        if users_without_roster and not only:
            raise typer.Exit(Exit.FAILED)
        count = _Count()
        pieces = roster_files.write(
            form,
            count.count_each(operate.export_rosters(connection.writer.client, connection.domain, only, _print_omitted)),
        )
        if str(file) == "-":
            output.pieces(pieces)
        else:
            write_pieces(file, pieces)
    output.say(f"{count_text(count.users, 'roster')} with {count_text(count.contacts, 'contact')} written.")
    if users_without_roster:
        raise typer.Exit(Exit.PARTLY)


def read_file(file: Path) -> bytes:
    """Return what is in a file, or on stdin for `-`; raise `UsageError` if it cannot be read."""
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.", "Check the name and the rights.") from error


@attrs.define
class _Count:
    users: int = 0
    contacts: int = 0

    def count_each(
        self, rosters: Iterable[tuple[str, Mapping[str, Contact]]]
    ) -> Iterator[tuple[str, Mapping[str, Contact]]]:
        for user, roster in rosters:
            self.users += 1
            self.contacts += len(roster)
            yield user, roster


def _format(file: Path, given: str | None) -> Format:
    name = given or file.suffix.removeprefix(".").lower() or "json"
    for form in get_args(Format):
        if name == form:
            known: Format = form
            return known
    message = f"There is no format {name}." if given else f"The name {file} does not imply a format."
    raise UsageError(message, f"Add --format with one of {', '.join(get_args(Format))}.")


def _of_file(file: Path, form: Format, connection: RosterConnection) -> FileContents:
    try:
        return roster_files.read(read_file(file), form, connection.domain)
    except BadFile as error:
        line = "" if error.line is None else f", line {error.line}"
        raise UsageError(f"{file}{line} {error.why}.", error.hint or None) from None


def _target(connection: RosterConnection, name: str | None) -> Target:
    targets = {target.name: target for target in connection.settings.targets if target.kind == "ejabberd"}
    if name not in targets:
        known = ", ".join(targets) or "none"
        kind = next((target.kind for target in connection.settings.targets if target.name == name), None)
        why = f"There is no target {name}." if kind is None else f"The target {name} is of kind {kind}."
        hint = f"These are: {known}. --from-prosody reads what Prosody keeps itself."
        raise UsageError(f"{why} Rosters can only be read from targets of kind ejabberd.", hint)
    return targets[name]


def _of_target(connection: RosterConnection, target: Target, users: list[str], *, one_sided: bool) -> FileContents:
    # It loads Trio, which takes 100 ms.
    from restbroker.rosters import source as roster_source

    host = connection.domain or target.default_host
    if host is None:
        raise UsageError("The domain of these users is unknown.", "Set Domain in Roster, or in the target.")
    with usage_errors():
        named = [read_user(user, host) for user in users]
    try:
        found = roster_source.fetch(
            target, host, named, one_sided=one_sided, tell=_ProgressReport("asked for").print_progress
        )
    except (roster_source.ServerUnreachable, roster_source.ServerRefusal) as error:
        output.say_error(error)
        is_gone = isinstance(error, roster_source.ServerUnreachable)
        raise typer.Exit(Exit.TARGET if is_gone else Exit.REFUSED) from None
    _print_one_sided(found.left_out)
    return found.contents


def _of_prosody(folder: Path, connection: RosterConnection, *, one_sided: bool) -> FileContents:
    from restbroker.rosters import prosody_files  # of no use to others

    try:
        imported = prosody_files.read(folder, connection.domain, one_sided=one_sided)
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}.", "Check the name and the rights.") from error
    if not (imported.contents.rosters or imported.contents.refused):
        hint = "Prosody keeps them in roster, in its host's folder: /var/lib/prosody/example%2eorg/roster."
        raise UsageError(f"{folder} has no rosters: no file ends with .dat.", hint)
    _print_one_sided(imported.left_out)
    return imported.contents


def _print_one_sided(left_out: int) -> None:
    if left_out:
        contacts = count_text(left_out, "contact")
        output.say(f"{contacts} left out, whose subscription is not both; --one-sided includes them.")


@attrs.define
class _ProgressReport:
    """A progress report for a terminal, written now and then."""

    what: str
    reported_at_s: float = attrs.field(factory=time.monotonic)

    def print_progress(self, done: int, total: int) -> None:
        if sys.stderr.isatty() and time.monotonic() >= self.reported_at_s + _TELL_EVERY_S:
            self.reported_at_s = time.monotonic()
            output.say(f"… {done} of {count_text(total, 'user')} {self.what}")


def _import(
    connection: RosterConnection, rosters: Mapping[str, Mapping[str, Contact]], source: str, *, add: bool, yes: bool
) -> ImportProgress:
    if not rosters:
        return ImportProgress(0)
    replaced = 0 if add else operate.count_replaced(connection.writer.client, list(rosters))
    if replaced:
        confirm(f"Replace the rosters of {count_text(replaced, 'user')}?", yes=yes)
    so_far, report = ImportProgress(len(rosters)), _ProgressReport("written")
    with closing(operate.import_rosters(connection.writer, rosters, add=add, source=source)) as steps:
        try:
            for so_far in steps:
                report.print_progress(so_far.done, so_far.total)
        except (KeyboardInterrupt, RestbrokerError):
            output.say(f"{count_text(so_far.done, 'roster')} written. Run the same command again for the rest.")
            raise
    return so_far


def _print_refused(refused: Iterable[RefusedRoster]) -> None:
    listed = list(refused)
    for one in listed[:_MOST_TOLD]:
        place = "" if one.line is None else f"line {one.line}: "
        user = "" if one.what.startswith(one.user) else f"{one.user}: "
        output.say(f"{place}{user}{one.what}")
    if len(listed) > _MOST_TOLD:
        output.say(f"… and {len(listed) - _MOST_TOLD} more.")


def _print_omitted(user: str, bad: BadRoster) -> None:
    output.say(f"Left out of the roster of {user}: {bad}")


def _conclude(found: FileContents, done: ImportProgress, *, dry_run: bool, as_json: bool) -> None:
    for user, why in done.refused:
        output.say(f"{user}: {why}")
    contacts = sum(map(len, found.rosters.values()))
    # A line that names no one counts by itself.
    users_refused = len({one.user or one.line for one in found.refused} | {user for user, _ in done.refused})
    if as_json:
        refused = [attrs.asdict(one) for one in found.refused]
        refused += [{"user": user, "what": why, "line": None} for user, why in done.refused]
        output.as_json({"dry_run": dry_run, "users": len(found.rosters), "contacts": contacts, "written": done.done,
                        "changed": done.changed, "refused": refused})  # fmt: skip
    rosters = f"{count_text(len(found.rosters) if dry_run else done.done, 'roster')}"
    changed = f", {done.changed} of them {'would change' if dry_run else 'changed'}"
    verb = "would be written" if dry_run else "written"
    refused_too = f"; {count_text(users_refused, 'user')} refused" if users_refused else ""
    output.say(f"{rosters} with {count_text(contacts, 'contact')} {verb}{changed}{refused_too}.")
