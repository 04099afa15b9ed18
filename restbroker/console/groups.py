"""Groups of options: an attrs class in a command's signature stands for the several options that are its fields.

`command` is used in place of Typer's decorator. Always holds: Typer sees each field as a parameter of its own, with the
field's annotation and default, where the group stands; the command gets the group. An option stands in `--help` below
the same heading everywhere.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, Final, TypeAlias

import attrs
import typer
from typer.core import TyperCommand

from restbroker.config.core import Config
from restbroker.console.load_config import ConfigOption, Section, load_quietly
from restbroker.console.options import (
    AllOption,
    DryRunOption,
    ForeignQueuesOption,
    Jids,
    JsonOption,
    RateOption,
    RepeatUnsafeOption,
    WhereOption,
    WhyOption,
    YesOption,
)

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


@attrs.frozen
class Chosen:
    """The jobs that are meant: by ids, by conditions, or all."""

    jids: Jids = None
    where: WhereOption = None
    everything: AllOption = False


@attrs.frozen
class Risk:
    """What is done only if the person says so."""

    repeat_unsafe: RepeatUnsafeOption = False
    foreign_queues: ForeignQueuesOption = False


@attrs.frozen
class Consent:
    """Whether to do it, and why."""

    why: WhyOption = ""
    dry_run: DryRunOption = False
    yes: YesOption = False


@attrs.frozen
class Reason:
    """Why, and whether only to show it, of what no one is asked about."""

    why: WhyOption = ""
    dry_run: DryRunOption = False


@attrs.frozen
class Paced:
    """Whether to do it with many jobs, why, and how fast it may go."""

    why: WhyOption = ""
    rate: RateOption = None
    dry_run: DryRunOption = False
    yes: YesOption = False


@attrs.frozen
class Output:
    """How to print, and the file with the configuration."""

    json: JsonOption = False
    config: ConfigOption = None

    def settings(self, *sections: Section) -> Config:
        """Return the configuration, as `load_quietly` does. Raise `ConfigError` if it is unusable."""
        return load_quietly(self.config, *sections)


class _Command(TyperCommand):
    """A command whose `--help` shows its options below headings."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - see cli.app
        """Write the arguments, then the options heading by heading, each in the order of the signature."""
        found: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{heading: [] for heading in _HEADINGS}}
        for one in self.get_params(ctx):
            is_argument = one.param_type_name == "argument"
            heading = "Arguments" if is_argument else _HEADING_OF.get(one.opts[0], "Options")
            if record := one.get_help_record(ctx):
                found.setdefault(heading, []).append(record)
        for heading, rows in found.items():
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


def command(app: typer.Typer, name: str | None = None) -> Callable[[Verb], Verb]:
    """Return a decorator that adds a function to `app`, called `name` or as the function is."""

    def add(function: Verb) -> Verb:
        typed = inspect.signature(function).parameters
        groups = {name: one.annotation for name, one in typed.items() if _is_group(one.annotation)}

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
    for one in typed.values():
        if _is_group(one.annotation):
            for field in attrs.fields(one.annotation):
                yield inspect.Parameter(field.name, one.KEYWORD_ONLY, default=field.default, annotation=field.type)
        else:
            yield one.replace(kind=one.KEYWORD_ONLY)


def _is_group(annotation: object) -> bool:
    return isinstance(annotation, type) and attrs.has(annotation)
