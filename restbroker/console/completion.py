"""What the shell offers while an argument is typed: names from the catalogues and the configuration.

Parameters name these functions as their `autocompletion`, and Typer calls them at the Tab key. Always holds: Redis is
not asked; no secret is printed; an error offers nothing and prints nothing; only words that need no quotes in a shell
are offered.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial, wraps
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from restbroker.console.output import one_line

if TYPE_CHECKING:
    from restbroker.console.load_config import Section

_PLAIN: Final = r"[\w.,:@/+%=-]+"
"""Words that a shell takes as they are; a queue's name with other characters could be executed by Enter."""
_CONDITION: Final = rf"(?:[\w.]+ ?!?= ?)?{_PLAIN}"
"""A condition such as `error = BadToken`, in quotes that the person has opened already."""
_BEGUN: Final = r"([\w.]+)( ?)(!?=) ?"
Offer = tuple[str, str]
"""One candidate, a whole word, and its description, which shells show beside it if there is room."""
Autocompletion = Callable[[typer.Context, str], list[Offer]]


def offer(source: Callable[[typer.Context, str], Iterable[Offer]], form: str = _PLAIN) -> Autocompletion:
    """Make a parameter's `autocompletion` of a function that yields candidates.

    `source` gets the command line so far and the beginning of the word; it may yield more than what begins like that,
    and words that do not match `form`, which are dropped.
    """

    @wraps(source)
    def offered(ctx: typer.Context, incomplete: str) -> list[Offer]:
        try:
            found = [(text, about) for text, about in source(ctx, incomplete) if text.startswith(incomplete)]
        except Exception:  # noqa: BLE001 - a person who presses Tab wants no traceback in the line
            return []
        # Typer reads a description as Rich's markup.
        return [(text, one_line(about).replace("[", "(")) for text, about in found if re.fullmatch(form, text)]

    return offered


def paths(ctx: typer.Context, incomplete: str) -> list[Offer]:  # noqa: ARG001 - Typer hands it over
    """Make the shell offer names of files, as it does elsewhere; our scripts recognise this by the star."""
    return [(f"{incomplete}*", "")]


def settings(ctx: typer.Context, *sections: "Section") -> Any:  # noqa: ANN401 - Config: imported when it is needed
    """Return the configuration that the command line names, with these sections; raise `ConfigError` if unusable.

    The option `--config` may stand behind the verb or before it.
    """
    from restbroker.console.load_config import load_quietly

    named: list[Path] = []
    at: Any = ctx
    while at is not None:
        path = at.params.get("config")
        named += [path] if isinstance(path, Path) else []
        at = at.parent
    return load_quietly(named[0] if named else None, *sections)


@offer
def targets(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - Typer hands it over
    """Offer the configured targets."""
    for target in settings(ctx).targets:
        yield target.name, f"{target.kind}, queues: {', '.join(target.queues)}"


@offer
def periodic(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - Typer hands it over
    """Offer the periodic commands."""
    for command in settings(ctx, "Periodic").periodic:
        yield command.name, f"{command.command}, {command.cron}"


@offer
def queues(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - Typer hands it over
    """Offer the queues of the configuration."""
    yield from ((name, "") for name in settings(ctx).queues)


@offer
def sources(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - Typer hands it over
    """Offer the configured sources of events."""
    events = settings(ctx, "Events").events
    yield from ((source.name, source.kind) for source in (events.sources if events else ()))


@partial(offer, form=_CONDITION)
def conditions(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer `error=` and the like, which need no quotes; behind `error=`, or `error = ` in quotes, offer values."""
    from restbroker.operate import where

    begun = re.match(_BEGUN, incomplete)
    if begun is None:
        yield from ((f"{name}=", "") for name in (*where.FIELDS, *(f"{name}!" for name in where.TEXTS)))
        return
    values: Mapping[str, Autocompletion] = {"queue": queues, "target": targets, "command": commands}
    name, blank, _ = begun.groups()
    found: Iterable[Offer] = ()
    if name == "error":
        from restbroker.console import codes

        found = ((code, "") for code in codes.names())
    elif name in where.TIMES:
        found = (("today", ""), ("yesterday", ""))
    elif name in values:
        found = values[name](ctx, "")
    front = begun[0].rstrip() + blank if blank else begun[0]
    yield from ((front + text, about) for text, about in found)


@offer
def commands(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - Typer hands it over
    """Offer the commands of the configured targets; without a configuration, those of all kinds."""
    yield from ((name, "") for name in sorted({name for catalogue in _catalogues(ctx) for name in catalogue.commands}))


def _catalogues(ctx: typer.Context, command: str = "") -> list[Any]:
    from restbroker.errors import RestbrokerError
    from restbroker.kinds import TARGETS
    from restbroker.servers import registry

    target = ctx.params.get("target")
    try:
        chosen = [known for known in settings(ctx).targets if target in (None, known.name)]
    except RestbrokerError:
        chosen = []
    found = [registry.catalogue_of(known, None, command) for known in chosen]
    return found or [registry.catalogue(kind) for kind in TARGETS]


@offer
def first_word(ctx: typer.Context, incomplete: str) -> Iterable[Offer]:
    """Offer the commands for the first word, and nothing for the words behind it."""
    return () if ctx.params.get("words") else commands(ctx, incomplete)


@offer
def plain_words(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer names of arguments such as `user=` of the command in front; behind `=@`, names of files."""
    name, sign, value = incomplete.partition("=")
    if sign and value.startswith("@"):
        yield from ((f"{name}=@{path}", "") for path in _files(value[1:]))
        return
    command = str(ctx.params.get("command") or "")
    taken = {word.partition("=")[0].removesuffix(":") for word in ctx.params.get("words") or ()}
    for catalogue in _catalogues(ctx, command):
        spec = catalogue.commands.get(catalogue.name_in(command))
        for argument in () if spec is None else spec.arguments:
            if argument.name not in taken:
                taken.add(argument.name)
                # What is typed in the line stands in the shell's history.
                sign = "=@" if argument.secret else "="
                yield (
                    argument.name + sign,
                    argument.type + (", optional" if argument.optional else "") + ", secret" * argument.secret,
                )


def _files(typed: str) -> Iterator[str]:
    """Yield the names of files that begin like this; those of folders end with a slash."""
    folder = Path(typed if typed.endswith("/") else Path(typed).parent)
    prefix = typed[: typed.rfind("/") + 1]
    for path in islice(sorted(folder.iterdir()), 1000):
        yield prefix + path.name + ("/" if path.is_dir() else "")


@offer
def kinds(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - Typer hands it over
    """Offer our kinds of servers, and those in the configuration, which other packages may provide."""
    from restbroker.errors import RestbrokerError
    from restbroker.kinds import TARGETS

    configured: set[str] = set()
    with suppress(RestbrokerError):
        configured = {target.kind for target in settings(ctx).targets}
    yield from ((kind, "") for kind in (*TARGETS, *sorted(configured - {*TARGETS})))


@offer
def tags(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - Typer hands it over
    """Offer the tags of commands."""
    for catalogue in _catalogues(ctx):
        yield from ((tag, "") for tag in sorted({tag for spec in catalogue.commands.values() for tag in spec.tags}))
