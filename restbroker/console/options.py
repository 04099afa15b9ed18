"""The options that many commands share: each is declared once, with one text, so that it means the same everywhere.

Used by the commands, as annotations of their parameters. Always holds: an option that means something else in one
command has another name there, or stands in that command's module. Nothing is imported that a command which works
without a configuration does not need.

An attrs class in a command's signature stands for the several options that are its fields; `command` is used in place
of Typer's decorator. Typer sees each field as a parameter of its own, with the field's annotation and default, where
the group stands; the command gets the group. An option stands in `--help` below the same heading everywhere.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import attrs
import typer
from typer.core import TyperCommand

from restbroker.console import completion
from restbroker.light import frozen

if TYPE_CHECKING:
    from restbroker.config.core import Config
    from restbroker.console.load_config import Section


def option(form: str, about: str, offers: completion.Autocompletion | None = None, **more: Any) -> Any:  # noqa: ANN401
    """Declare an option as it stands in a usage line (`--queue QUEUE`), with its help and what Tab offers for it.

    Without a name it has that of its parameter. `more`: as in `typer.Option`.
    """
    words = form.split()
    names = [word for word in words if word.startswith("-")]
    metavar = next((word for word in words if word not in names), None)
    return typer.Option(*names, metavar=metavar, help=about, autocompletion=offers, **more)


def argument(metavar: str, about: str, offers: completion.Autocompletion | None = None) -> Any:  # noqa: ANN401
    """Declare an argument as it stands in a usage line, with its help and what Tab offers for it."""
    return typer.Argument(metavar=metavar, help=about, autocompletion=offers)


def finite(value: float | None) -> float | None:
    """Return the number of an option; raise typer's BadParameter for `nan` and `inf`."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


Jids = Annotated[list[str] | None, argument("[JID]...", "Job ids.")]

WhereOption = Annotated[
    list[str] | None,
    option(
        "--where CONDITION",
        "FIELD OP VALUE, e.g. 'error = BadToken' or 'failed_at older 2h'; repeated: all must hold.",
        completion.conditions,
    ),
]
AllOption = Annotated[bool, option("--all", "All of them.")]
MostOption = Annotated[int | None, option("--limit N", "At most this many.", min=1)]
FirstOption = Annotated[bool, option("--first", "Put them before the jobs that wait in their queues.")]
TargetOption = Annotated[
    str | None, option("--target TARGET", "The target. (default: the one that has this command)", completion.targets)
]
OneTargetOption = Annotated[
    str | None, option("--target TARGET", "The target, if the configuration has several.", completion.targets)
]
TestedTargetsOption = Annotated[
    list[str] | None,
    option(
        "--target TARGET",
        "Test only this target, or with --suggest, print lines only for this one; may be repeated. With --events: "
        "use it to make the server emit an event.",
        completion.targets,
    ),
]
AnyOption = Annotated[bool, option("--any", "Accept unknown commands and arguments as they are.")]
InOption = Annotated[str | None, option("--in DURATION", "Run after this long, e.g. 5m, 2h, 7d.")]
AtOption = Annotated[str | None, option("--at TIME", "Run at this time, e.g. 2030-01-31T08:00+01:00.")]
ToQueueOption = Annotated[str, option("--to QUEUE", "The queue to move them to.", completion.queues)]
RecipientOption = Annotated[str, option("--to JID", "With --events: the recipient, whose event comes to the source.")]
RateOption = Annotated[
    float | None, option("--rate N", "At most this many jobs per second.", min=0.01, callback=finite)
]
ForOption = Annotated[str | None, option("--for DURATION", "How long, e.g. 30m, 2h, 1d. (default: until resumed)")]

WaitOption = Annotated[bool, option("--wait", "Wait until it is done or has failed.")]
TimeoutOption = Annotated[str, option("--timeout DURATION", "How long --wait waits.")]
AnswerTimeoutOption = Annotated[str, option("--timeout DURATION", "How long to wait for the answer.")]

RepeatUnsafeOption = Annotated[
    bool, option("--repeat-unsafe", "Also jobs that may have run and are not safe to repeat: they may run twice.")
]
ForeignQueuesOption = Annotated[bool, option("--foreign-queues", "Also queues that this configuration does not serve.")]
WhyOption = Annotated[str, option("--why TEXT", "The reason, for the audit log, which keeps it as typed.")]
DryRunOption = Annotated[bool, option("--dry-run", "Only show what would be done.")]
YesOption = Annotated[bool, option("--yes -y", "Do not ask.")]

AfterOption = Annotated[
    str | None, option("--after PLACE", "Continue after this place, as the previous list printed it.")
]
LimitOption = Annotated[int, option("--limit N", "At most this many.", min=1, max=100_000)]
JsonOption = Annotated[bool, option("--json", "Print JSON.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The configuration file. (default: $RESTBROKER_CONFIG, ./env.json, /etc/restbroker/env.json)",
        autocompletion=completion.paths,
        # Not tested by Typer, which would say less than our own message does.
        readable=False,
    ),
]
JobsOption = Annotated[
    int, option("--jobs N", "Read at most this many jobs of each queue or set.", min=1, max=10_000_000)
]
SecondsOption = Annotated[int, option("--seconds N", "Search for this long.", min=1, max=3600)]
JsonLogsOption = Annotated[bool, option("--json-logs", "Write logs as JSON lines.")]


Verb: TypeAlias = Callable[..., None]
_HEADINGS: Final = {
    "Which jobs": "--where --all --limit --after --jobs --seconds",
    "What to do": "--any --at --command --expire --fair-key --first --for --in --ok-if-exists --order-key --rate"
    " --rename --retry --unique --unique-for --unset",
    "Many jobs": "--bulk --rejects",
    "The answer": "--reply-id --timeout --wait",
    "Safety": "--dry-run --force --foreign-queues --repeat-unsafe --why --yes",
    "Output": "--every --json --watch",
}
"""The headings of `--help`, with their options; the others stand below "Options"."""
_HEADING_OF: Final = {option: heading for heading, options in _HEADINGS.items() for option in options.split()}


@frozen
class Chosen:
    """The jobs that are meant: by ids, by conditions, or all; at most `limit` of them are done."""

    jids: Jids = None
    where: WhereOption = None
    everything: AllOption = False
    limit: MostOption = None


@frozen
class Risk:
    """What is done only if the person says so."""

    repeat_unsafe: RepeatUnsafeOption = False
    foreign_queues: ForeignQueuesOption = False


@frozen
class Consent:
    """Whether to do it, and why."""

    why: WhyOption = ""
    dry_run: DryRunOption = False
    yes: YesOption = False


@frozen
class ReasonOptions:
    """Why, and whether only to show it, of what no one is asked about."""

    why: WhyOption = ""
    dry_run: DryRunOption = False


@frozen
class Paced:
    """Whether to do it with many jobs, why, and how fast it may go."""

    why: WhyOption = ""
    rate: RateOption = None
    dry_run: DryRunOption = False
    yes: YesOption = False


@frozen
class Output:
    """How to print, and the file with the configuration."""

    json: JsonOption = False
    config: ConfigOption = None

    def settings(self, *sections: "Section") -> "Config":
        """Return the configuration, as `load_quietly` does. Raise `ConfigError` if it is unusable."""
        from restbroker.console.load_config import load_quietly

        return load_quietly(self.config, *sections)


class _Command(TyperCommand):
    """A command whose `--help` shows its options below headings."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - see cli.app
        """Write the arguments, then the options heading by heading, each in the order of the signature."""
        found: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{heading: [] for heading in _HEADINGS}}
        for parameter in self.get_params(ctx):
            is_argument = parameter.param_type_name == "argument"
            heading = "Arguments" if is_argument else _HEADING_OF.get(parameter.opts[0], "Options")
            if record := parameter.get_help_record(ctx):
                found.setdefault(heading, []).append(record)
        for heading, rows in found.items():
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


def command(app: typer.Typer, name: str | None = None) -> Callable[[Verb], Verb]:
    """Return a decorator that adds a function to `app`, called `name` or as the function is."""

    def add(function: Verb) -> Verb:
        typed = inspect.signature(function).parameters
        groups = {name: parameter.annotation for name, parameter in typed.items() if _is_group(parameter.annotation)}

        @wraps(function)
        def run(**given: Any) -> None:  # noqa: ANN401 - the values of options, whatever their types
            made = {
                name: group(**{field.name: given.pop(field.name) for field in attrs.fields(group)})
                for name, group in groups.items()
            }
            function(**given, **made)

        run.__signature__ = inspect.Signature([*_parameters(typed)])  # type: ignore[attr-defined]  # read by Typer
        app.command(name, cls=_Command)(run)
        return function

    return add


def _parameters(typed: Mapping[str, inspect.Parameter]) -> Iterator[inspect.Parameter]:
    """Yield the parameters, with the fields of each group in its place."""
    for option in typed.values():
        if _is_group(option.annotation):
            for field in attrs.fields(option.annotation):
                yield inspect.Parameter(field.name, option.KEYWORD_ONLY, default=field.default, annotation=field.type)
        else:
            yield option.replace(kind=option.KEYWORD_ONLY)


def _is_group(annotation: object) -> bool:
    return isinstance(annotation, type) and attrs.has(annotation)
