"""`restbroker config`: create a configuration file, show the values in effect, print the schema."""

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

from restbroker.cli.config_init import InitOptions, make
from restbroker.config import reference
from restbroker.config.core import all_keys
from restbroker.config.load import collect
from restbroker.config.mask import mask
from restbroker.console import columns, completion, output
from restbroker.console.lists import Verbs
from restbroker.console.load_config import load_with_notices, print_notices
from restbroker.console.options import Output, YesOption, argument, command
from restbroker.console.private_file import write_new
from restbroker.events import registry as sources
from restbroker.job.json_types import Json
from restbroker.servers import registry

app = typer.Typer(
    cls=Verbs, add_completion=False, no_args_is_help=True, help="Create, show or describe the configuration file."
)


@command(app)
def init(
    *,
    path: Annotated[Path, argument("[FILE]", "The file to create.", completion.paths)] = Path("env.json"),
    given: InitOptions,
    yes: YesOption = False,
) -> None:
    """Create a configuration from a few questions, or from options. Never overwrites a file.

    The secrets, a new token and the passwords, go into separate files beside it. Only you can read them (mode 0600).
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
        f"Wrote {path}. Set RedisURL, RestURL, RestUser, RestPass and JabberDomain; then run `restbroker check`."
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


@app.command()
def schema() -> None:
    """Print the JSON schema of the file, for editors and validators."""
    output.as_json(reference.schema(registry.kinds(), sources.kinds()))
