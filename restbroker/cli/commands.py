"""`restbroker commands`: what the server can be asked to do, from the catalogue. Needs no server, Redis or config."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated

import typer

from restbroker.cli import output
from restbroker.cli.completion import command_names
from restbroker.cli.configured import JsonOption
from restbroker.connectors import registry
from restbroker.errors import UsageError
from restbroker.rules.command import ArgumentSpec, Catalogue, CommandSpec, Repeat
from restbroker.rules.json_types import Json

app = typer.Typer(add_completion=False)

_REPEATS: Mapping[Repeat, str] = {
    "safe": "the same again, so it is repeated after a time-out",
    "already_done": "the server says that it was done, which then counts as done",
    "unsafe": "it would happen twice, so after a time-out it is repeated only a few times (UncertainRetries)",
}


@app.command()
def commands(
    name: Annotated[
        str | None, typer.Argument(help="One command, to be shown with its arguments.", autocompletion=command_names)
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Only commands with this tag, e.g. accounts.")] = None,
    server_version: Annotated[
        str | None, typer.Option(help="As of this version of the server, e.g. 24.12. [default: newest]")
    ] = None,
    kind: Annotated[str, typer.Option(help=f"Of which server: {', '.join(registry.KINDS)}.")] = registry.KINDS[0],
    json: JsonOption = False,
) -> None:
    """List a server's commands, or show one with its arguments and what a repetition of it does."""
    catalogue = registry.catalogue(kind, server_version)
    if name is not None:
        _show(_find(catalogue, name, kind), as_json=json)
        return
    tags = sorted({tag for spec in catalogue.commands.values() for tag in spec.tags})
    if tag is not None and tag not in tags:
        raise UsageError(f"No command has the tag {tag!r}.", f"There are: {', '.join(tags)}.")
    chosen = [spec for spec in catalogue.commands.values() if tag is None or tag in spec.tags]
    if json:
        output.as_json([_as_json(spec) for spec in chosen])
        return
    rows = [(spec.name, " ".join(a.name for a in spec.arguments), " ".join(sorted(spec.tags))) for spec in chosen]
    output.table(("COMMAND", "ARGUMENTS", "TAGS"), rows)


def _find(catalogue: Catalogue, name: str, kind: str) -> CommandSpec:
    spec = catalogue.commands.get(name)
    if spec is None:
        near = get_close_matches(name, catalogue.commands, n=3)
        cure = f"Did you mean {' or '.join(near)}?" if near else "`restbroker commands` lists them all."
        raise UsageError(f"{kind} {catalogue.version} has no command {name!r}.", cure)
    return spec


def _show(spec: CommandSpec, *, as_json: bool) -> None:
    if as_json:
        output.as_json(_as_json(spec))
        return
    facts = [
        ("command", spec.name),
        *(("argument", _argument(argument)) for argument in spec.arguments),
        *([("argument", "user, host: filled in where missing")] if spec.fills_host else []),
        ("result", spec.result + (" (a credential: kept out of logs)" if spec.secret_result else "")),
        ("again", f"{spec.repeat}: {_REPEATS[spec.repeat]}"),
        ("tags", " ".join(sorted(spec.tags))),
        *([("time-out", f"{spec.timeout_s:g}s")] if spec.timeout_s is not None else []),
        *([("since", spec.since)] if spec.since is not None else []),
    ]
    output.table(("", ""), facts)


def _argument(argument: ArgumentSpec) -> str:
    kind = argument.type if argument.element is None else f"{argument.type} of {argument.element}s"
    also = f", also called {', '.join(argument.aliases)}" if argument.aliases else ""
    return f"{argument.name}: {kind}{', secret' if argument.secret else ''}{also}"


def _as_json(spec: CommandSpec) -> Json:
    return {
        "name": spec.name,
        "arguments": [
            {
                "name": argument.name,
                "type": argument.type,
                "element": argument.element,
                "secret": argument.secret,
                "aliases": list(argument.aliases),
            }
            for argument in spec.arguments
        ],
        "repeat": spec.repeat,
        "result": spec.result,
        "tags": sorted(spec.tags),
        "api_version": spec.api_version,
        "timeout_s": spec.timeout_s,
        "since": spec.since,
    }
