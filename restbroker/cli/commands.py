"""`restbroker commands`: what commands the server takes, from the catalogue.

It needs neither a server, Redis nor a configuration; with them, it lists the commands of the version in use.
"""

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final

import typer

from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.console import columns, completion, output
from restbroker.console.load_config import load_quietly
from restbroker.console.options import OneTargetOption, Output, command, option
from restbroker.errors import ConfigError, UsageError
from restbroker.job.command import DANGEROUS, ArgumentSpec, Catalogue, CommandSpec, Repeat
from restbroker.job.endpoint import either
from restbroker.job.json_types import Json
from restbroker.kinds import FLAT, TARGETS
from restbroker.operate.enqueue import server_version_of
from restbroker.operate.job_schema import job_schema
from restbroker.operate.names import listed
from restbroker.operate.request import has_command
from restbroker.servers import registry
from restbroker.servers.packages import Package

app = typer.Typer(add_completion=False)

_REPEATS: Mapping[Repeat, str] = {
    "safe": "running it twice is the same as running it once, so it is sent again after a timeout",
    "already_done": "it is sent again after a timeout; if the server then answers that it was done already, "
    "that counts as done",
    "unsafe": "it might run twice, so after a timeout it is sent again only a few times (UncertainRetries)",
}

_ARGUMENT: Final = ("name", "type", "element", "secret", "aliases", "optional")
"""What `--json` has of an argument."""
_RESULTS: Mapping[str, str] = {"rescode": "whether it was done", "restuple": "whether it was done, and a message"}
"""What ejabberd's own names of results mean; the others speak for themselves, as `integer` does."""


@command(app)
def commands(
    *,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="The command to show with its arguments.", autocompletion=completion.commands
        ),
    ] = None,
    tag: Annotated[
        str | None, option("--tag TAG", "Only commands with this tag, e.g. accounts.", completion.tags)
    ] = None,
    server_version: Annotated[
        str | None,
        option(
            "--server-version VERSION",
            "For this version, e.g. 24.12. (default: the running, the configured, or the newest)",
        ),
    ] = None,
    kind: Annotated[
        str | None, option("--kind KIND", f"The kind of server: {', '.join(TARGETS)}.", completion.kinds)
    ] = None,
    target: OneTargetOption = None,
    kinds: Annotated[
        bool, option("--kinds", "List the kinds of servers instead, with the packages that provide them.")
    ] = False,
    schema: Annotated[
        bool, option("--schema", "Print the JSON Schema of a job for the targets of the configuration instead.")
    ] = False,
    how: Output,
) -> None:
    """List a server's commands, or show one with its arguments and whether it is safe to repeat."""
    if kinds:
        _list_kinds(as_json=how.json)
        return
    if schema:
        if name is not None or tag is not None:
            raise UsageError("--schema is of all commands.", "Leave the command and --tag out.")
        _print_schema(kind, target, how.config, server_version)
        return
    if server_version is not None:
        kind = kind or FLAT
        catalogue = registry.catalogue(kind, server_version)
    else:
        kind, catalogue = _of_server(kind, target, how.config, name)
    if not catalogue.commands:
        raise UsageError(
            f"The configuration defines the commands of a target of kind {kind}.",
            "Name the configuration with --config, and the target with --target.",
        )
    if sys.stderr.isatty():
        another = "--target" if catalogue.is_whole else "--server-version (or --target)"
        output.say(f"Commands of {f'{kind} {catalogue.version}'.strip()}; {another} chooses others.")
    if name is not None:
        _show(_find(catalogue, name, kind, target), as_json=how.json)
        return
    tags = sorted({tag for spec in catalogue.commands.values() for tag in spec.tags})
    if tag is not None and tag not in tags:
        raise UsageError(f"No command has the tag {tag!r}.", f"There are: {', '.join(tags)}.")
    chosen = [spec for spec in catalogue.commands.values() if tag is None or tag in spec.tags]
    if how.json:
        output.as_json([_as_json(spec) for spec in chosen])
        return
    rows = [(spec.name, " ".join(_names(spec)), " ".join(sorted(spec.tags))) for spec in chosen]
    columns.rows(("COMMAND", "ARGUMENTS", "TAGS"), rows)


def _list_kinds(*, as_json: bool) -> None:
    """Print every kind of server, also one that cannot be used; raise `ConfigError` after the list if there is one."""
    found = list(registry.packages())
    if as_json:
        output.as_json([_kind_as_json(*kind) for kind in found])
    else:
        rows = [(kind, package, package.summary if error is None else error.message) for kind, package, error in found]
        columns.rows(("KIND", "PACKAGE", "ABOUT"), rows)
    if problem := next((error for *_, error in found if error is not None), None):
        raise problem


def _kind_as_json(kind: str, package: Package, error: ConfigError | None) -> Json:
    return {
        "kind": kind,
        "package": package.name,
        "version": package.version,
        "about": None if error is not None else package.summary,
        "problem": None if error is None else error.message,
    }


def _of_server(kind: str | None, name: str | None, path: Path | None, command: str | None) -> tuple[str, Catalogue]:
    """Return the kind and catalogue of the first matching target, preferably of one that has the command.

    Raise `UsageError` for an unknown target, and `ConfigError` if `path` or `name` needs a configuration.
    """
    newest = kind or FLAT
    fitting = _targets(kind, name, path, is_needed=path is not None or name is not None)
    able = (pair for pair in fitting if command is None or has_command(pair[1], command))
    chosen = next(able, None) or next(iter(fitting), None)
    if chosen is None:
        return newest, registry.catalogue(newest)
    settings, target = chosen
    return target.kind, registry.catalogue_of(target, server_version_of(settings, target))


def _targets(kind: str | None, name: str | None, path: Path | None, *, is_needed: bool) -> list[tuple[Config, Target]]:
    """Return the targets of this kind and name, each with the configuration; none if that cannot be read.

    Raise `UsageError` for an unknown target, and `ConfigError` if the configuration `is_needed`.
    """
    try:
        settings = load_quietly(path)
    except ConfigError:
        if is_needed:
            raise
        return []
    found = [
        (settings, target) for target in settings.targets if kind in (None, target.kind) and name in (None, target.name)
    ]
    if not found and name is not None:
        names = listed([target.name for target in settings.targets])
        raise UsageError(f"There is no target {name!r} of that kind.", f"These are configured: {names}.")
    return found


def _print_schema(kind: str | None, name: str | None, path: Path | None, version: str | None) -> None:
    """Print the schema of jobs for the matching targets; without any, for a kind or version that is named."""
    is_needed = kind is None or path is not None
    targets = _targets(kind, name, path, is_needed=is_needed) if version is None else []
    known = [(registry.catalogue_of(place, server_version_of(of, place)), place.default_host) for of, place in targets]
    output.as_json(job_schema(known or [(registry.catalogue(kind or FLAT, version), "")]))


def _find(catalogue: Catalogue, name: str, kind: str, target: str | None) -> CommandSpec:
    """Return what the command takes. Raise `UsageError` if there is none of this name."""
    if name in catalogue.commands:
        return catalogue.commands[name]
    near, alike = (
        get_close_matches(name, catalogue.commands, n=3),
        [command for command in catalogue.commands if name in command],
    )
    others = [other for other in TARGETS if other != kind and name in registry.catalogue(other).commands]
    if instead := catalogue.unavailable.get(name):
        hint = instead
    elif others and target is None:
        hint = f"A target of the kind {' or '.join(others)} has it (--kind)."
    elif near:
        hint = f"Did you mean {either(near)}?"
    elif alike:
        hint = f"These contain it: {listed(alike)}."
    else:
        hint = f"`restbroker commands{'' if target is None else f' --target {target}'}` lists them all."
    raise UsageError(f"{f'{kind} {catalogue.version}'.strip()} has no command {name!r}.", hint)


def _names(spec: CommandSpec) -> list[str]:
    return ["user"] * spec.fills_user + ["host"] * spec.fills_host + [argument.name for argument in spec.arguments]


def _show(spec: CommandSpec, *, as_json: bool) -> None:
    if as_json:
        output.as_json(_as_json(spec))
        return
    facts = [
        ("command", spec.name),
        *(("argument", _argument(argument)) for argument in spec.arguments),
        *([("argument", "user: string, needed if the login is an administrator")] if spec.fills_user else []),
        *([("argument", "host: string, filled in where missing")] if spec.fills_host else []),
        *([("argument", "any other")] if spec.takes_more else []),
        (
            "result",
            _RESULTS.get(spec.result, spec.result) + (" (a secret: never logged)" if spec.secret_result else ""),
        ),
        ("again", _REPEATS[spec.repeat]),
        ("example", _example(spec)),
        ("tags", " ".join(sorted(spec.tags))),
        *([("allowed by", f'"{DANGEROUS}{spec.name}" in a token\'s Allow, not by "*"')] if _is_dangerous(spec) else []),
        *([("time-out", duration_text(spec.timeout_s))] if spec.timeout_s is not None else []),
        *([("since", spec.since)] if spec.since is not None else []),
    ]
    columns.rows(("", ""), facts)


def _example(spec: CommandSpec) -> str:
    """Return a command line with all arguments that are needed, in capitals what the person has to write."""
    needed = [argument for argument in spec.arguments if not argument.optional]
    words = ["user=USER"] * spec.fills_user
    for argument in needed:
        value = "@FILE" if argument.secret else argument.name.upper()
        is_json = argument.type == "any" or argument.element == "object"
        words.append(f"{argument.name}:=JSON" if is_json else f"{argument.name}={value}")
    return " ".join(["restbroker enqueue --wait", spec.name, *words])


def _is_dangerous(spec: CommandSpec) -> bool:
    return any(tag.startswith(DANGEROUS) for tag in spec.tags)


def _argument(argument: ArgumentSpec) -> str:
    kind = argument.type if argument.element is None else f"{argument.type} of {argument.element}s"
    also = f", also called {', '.join(argument.aliases)}" if argument.aliases else ""
    may = ", optional" if argument.optional else ""
    return f"{argument.name}: {kind}{', secret' if argument.secret else ''}{may}{also}"


def _as_json(spec: CommandSpec) -> Json:
    return {
        "name": spec.name,
        "arguments": [{member: getattr(argument, member) for member in _ARGUMENT} for argument in spec.arguments],
        "repeat": spec.repeat,
        "result": spec.result,
        "tags": sorted(spec.tags),
        "api_version": spec.api_version,
        "timeout_s": spec.timeout_s,
        "since": spec.since,
    }
