"""`restbroker config`: create a configuration file, show the values in effect, compare two, print the schema."""

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from restbroker.cli.config_init import InitOptions, make
from restbroker.config import document, reference
from restbroker.config.core import all_keys
from restbroker.config.load import collect
from restbroker.config.mask import mask
from restbroker.console import columns, completion, output
from restbroker.console.exits import Exit
from restbroker.console.lists import Verbs
from restbroker.console.load_config import load_with_notices, print_notices
from restbroker.console.options import Output, YesOption, argument, command
from restbroker.console.private_file import write_new
from restbroker.errors import ConfigError, UsageError
from restbroker.events import registry as sources
from restbroker.job.json_types import Json
from restbroker.servers import registry

app = typer.Typer(
    cls=Verbs, add_completion=False, no_args_is_help=True, help="Create, show, compare or describe the configuration."
)


@command(app)
def init(
    *,
    path: Annotated[Path, argument("[FILE]", "The file to create.", completion.paths)] = Path("env.json"),
    given: InitOptions,
    yes: YesOption = False,
) -> None:
    """Create a configuration from a few questions, or from options. Never overwrites a file.

    The secrets, a new token and the passwords, go into separate files next to it. Only you can read them (mode 0600),
    or the folder's group, too, if you are root and nobody else can enter the folder (mode 0640).
    After the last question it offers to test the connection, and then exits as restbroker check does. With --yes it
    asks nothing and uses defaults for what no option sets. Without options and without a terminal it writes a sample to
    edit, with a new token in it.
    """
    ask = sys.stdin.isatty() and not yes
    if ask or not given.is_empty:
        make(path, given, ask=ask)
        return
    write_new(path, reference.sample_text(secrets.token_urlsafe(24)))
    output.say(
        f"Wrote {path}. Set RedisURL, RestURL, RestUser, RestPass and JabberDomain. Then run `restbroker check`."
    )


@command(app)
def show(how: Output) -> None:
    """Show every key's value and its origin. Secrets stay hidden."""
    print_notices(load_with_notices(how.config))
    collected = collect(how.config, os.environ, {})
    kinds, of_sources = registry.kinds(), sources.kinds()
    rows: list[tuple[str, Json, str]] = []
    for key in all_keys().values():
        if key.ignored is not None:
            continue
        is_given = key.name in collected.values
        value = mask(key, collected.values[key.name], kinds, of_sources) if is_given else key.default
        rows.append((key.name, value, collected.origin(key.name)))
    if how.json:
        output.as_json({name: {"value": value, "origin": origin} for name, value, origin in rows})
        return
    columns.rows(("KEY", "VALUE", "FROM"), [(name, _as_written(value), origin) for name, value, origin in rows])


def _as_written(value: Json) -> str:
    """Return a value as it stands in the file, but a text without its quotes."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


@command(app)
def diff(
    *,
    files: Annotated[list[Path], argument("[OLD] NEW", "The files. Without OLD: the one in use.", completion.paths)],
    how: Output,
) -> None:
    """Show what a new file changes, key by key, and when: at a reload, or only after a restart.

    Exits with 1 if anything changes, with 2 if a file cannot be used. Secrets stay hidden: behind each is a digest that
    holds for this output alone, and tells only whether two are the same. It does not compare the contents of files that
    keys name: a reload reads a secret again, and a restart the certificates of a target's TLS. Relative paths begin at
    the file that has them, and those of a pipe at OLD. Environment variables count for both files. It asks no running
    process.
    """
    if len(files) > 2 - (how.config is not None):
        raise UsageError("Too many files: one old and one new are compared.", "--config FILE stands for OLD.")
    from restbroker.app import reload
    from restbroker.config.diff import differences

    before, after = [how.config, *files][-2:]
    old_file = document.find(before, os.environ) or Path()
    folder = old_file.parent if document.is_file(old_file) else Path()
    # Each once, since a pipe cannot be read again.
    read = {path: collect(path, os.environ, {}, pipes_in=folder) for path in {before, after}}
    old, new = load_with_notices(read[before]), load_with_notices(read[after])
    kinds = {"targets": registry.kinds(), "sources": sources.kinds()}
    found = differences(read[before], read[after], kinds)
    told, whole = list[Any](), ""
    try:
        reload.require_reloadable(old.config, old.config, new.config)
        told += reload.warnings_of(old.config, new)
    except ConfigError as refused:
        told, whole = [refused], "after a restart"
    changes = [
        {"key": key, "old": pair[0], "new": pair[1], "takes_effect": whole or reload.takes_effect(key)}
        for key, pair in found.items()
    ]
    if how.json:
        output.as_json({"changes": changes, "told": [one.message for one in told]})
    else:
        cells = [[_as_written(cell) or "-" for cell in change.values()] for change in changes]
        columns.rows(("KEY", "OLD", "NEW", "TAKES EFFECT"), cells)
    output.say(
        *(f"note: {setter} sets {key}, in both." for key, setter in read[after].problems.setters.items()),
        *(f"{one.message} {one.hint or ''}" for one in told if changes),
        None if changes else "Nothing changes.",
    )
    raise typer.Exit(Exit.FAILED if changes else Exit.OK)


@app.command()
def schema() -> None:
    """Print the JSON schema of the file, for editors and validators."""
    output.as_json(reference.schema(registry.kinds(), sources.kinds()))
