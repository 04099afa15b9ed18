"""`restbroker token`: create a secret, and show which tokens there are and who still uses them.

Always holds: a secret is printed when it is created, and never again.
"""

import json as json_text  # `json` is an option of the commands
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from restbroker.config.core import Config
from restbroker.config.tokens import Token
from restbroker.console import columns, completion, output
from restbroker.console.lists import Verbs
from restbroker.console.options import JobsOption, Output, argument, command, option
from restbroker.console.private_file import readers, write_new
from restbroker.job.json_types import Json

app = typer.Typer(
    cls=Verbs, add_completion=False, no_args_is_help=True, help="Create a token, or list the configured ones."
)

_SECRET_BYTES = 32
_UNKNOWN = "(unknown)"
_PLACES = ("ALLOW", "HOSTS", "TARGETS", "QUEUES")
_HEADER = ("TOKEN", *_PLACES, "SIGNED", "SECRETS", "LAST USE", "WAITING", "PREVIOUS")
NameWord = Annotated[str, argument("[NAME]", "The token's name in the configuration.")]


@app.command()
def new(
    name: NameWord = "app",
    file: Annotated[
        Path | None, option("FILE", "Write the secret to this private file, and do not print it.", completion.paths)
    ] = None,
) -> None:
    """Create a secret of 32 random bytes. Never overwrites a file.

    Prints it, or writes it to a file. Says on stderr what to put into the configuration.
    """
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    if file is None:
        output.data(secret)
    else:
        write_new(file, secret + "\n")
        output.say(f"Wrote {file}, . {readers(file)} can read it. The user that runs restbroker must be able to.")
    path = Path(f"/run/credentials/{name}_token") if file is None else file.absolute()
    entry = {"Tokens": {name: {"SecretFile": str(path), "Allow": ["*"]}}}
    output.say("In env.json, with the commands that its jobs may run:", *json_text.dumps(entry, indent=2).split("\n"))


@command(app, "list")
def list_tokens(*, jobs: JobsOption = 10_000, how: Output) -> None:
    """Show each token: what it allows, its last use, and its waiting jobs. Never a secret.

    Counts the jobs in the configured queues, and those in `retry` and `schedule` that will go there. A job with an
    unknown token would die. In a pipe each line is: name, allow, hosts, targets, queues, signed, secrets, last use
    (UTC), waiting jobs, those with the previous secret.
    """
    rows, skipped = _rows(how.settings(), jobs)
    if how.json:
        output.as_json(list(rows))
    else:
        columns.rows(_HEADER, [_cells(row) for row in rows])
    if skipped:
        output.say(f"note: {skipped} more waiting jobs were not counted; --jobs raises the limit.")


def _rows(settings: Config, limit: int) -> tuple[list[dict[str, Json]], int]:
    # The store is slow to import, and `token new` does without.
    from restbroker.broker.tokens import Tokens
    from restbroker.operate.connect import open_store
    from restbroker.operate.tokens import count_tokens
    from restbroker.store.records import token_uses

    with open_store(settings) as client:
        used = token_uses(client)
        served = {queue: target.name for target in settings.targets for queue in target.queues}
        found = count_tokens(client, Tokens(settings.tokens), served, limit)
    rows = [_row(token, used, found.jobs[token.name], found.previous[token.name]) for token in settings.tokens]
    if found.jobs[None]:
        rows.append({"token": _UNKNOWN, "waiting": found.jobs[None]})
    return rows, found.skipped


def _row(token: Token, used: Mapping[str, float], jobs: int, previous: int) -> dict[str, Json]:
    at_s = used.get(token.name)
    return {
        "token": token.name,
        "allow": list(token.allow),
        "hosts": list(token.hosts),
        "targets": list(token.targets),
        "queues": list(token.queues),
        "signed": token.signed,
        "secrets": ["inline" if secret.path is None else str(secret.path) for secret in token.secrets],
        "last_use": None if at_s is None else f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "waiting": jobs,
        "previous": previous,
    }


def _cells(row: Mapping[str, Json]) -> list[str]:
    if row["token"] == _UNKNOWN:
        return [_UNKNOWN, *["-"] * 7, str(row["waiting"]), "-"]
    return [_cell(name, value) for name, value in row.items()]


def _cell(name: str, value: Json) -> str:
    match value:
        case list():
            return " ".join(map(str, value)) or "any"
        case bool():
            return "yes" if value else "no"
        case None:
            return "never" if name == "last_use" else "-"
        case _:
            return str(value)
