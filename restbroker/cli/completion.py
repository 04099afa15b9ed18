"""What the shell offers while an argument is typed: names from the catalogues, the configuration and Redis.

Called by `cli.complete`, and by the commands that name one of these functions themselves. Always holds: nothing is
changed; no argument of a job and no secret is read out; the configuration's and Redis' troubles are raised, and it is
`cli.complete` that says nothing of them.
"""

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import attrs

from restbroker.servers import registry

_MOST: Final = 100
_REDIS_S: Final = 1.0
_NETWORK_S: Final = 3.0
"""For all that is asked of Redis, and for looking up where it is, which has no time-out of its own."""
_SETS: Final[Mapping[str, Literal["dead", "retry", "schedule"]]] = {
    "dead": "dead",
    "retries": "retry",
    "scheduled": "schedule",
}


@attrs.frozen
class Offer:
    """One candidate, a whole word; `said` is what shells that have room for it show beside."""

    text: str
    said: str = ""


class Asked(Protocol):
    """What of the line is known: click's context, or less."""

    @property
    def command_path(self) -> str:
        """The program and the commands below it."""

    @property
    def params(self) -> Mapping[str, Any]:
        """What was given already, by the parameter's name."""

    @property
    def parent(self) -> "Asked | None":
        """The same of the command above."""


@attrs.frozen
class Line:
    """A line without options that are not known; `completion` itself reads those of `enqueue`, for click is slow."""

    command_path: str
    params: Mapping[str, Any]
    parent: Asked | None = None


Source = Callable[[Asked, str], Iterable[Offer]]
"""What may be typed, given the command line so far and the beginning of the word; more than fits may be offered."""


def of_enqueue(args: Sequence[str], incomplete: str, flags: Collection[str]) -> Iterable[Offer] | None:
    """What may be typed behind `enqueue` and these words; None where it is an option, or its value."""
    words: list[str] = []
    params: dict[str, Any] = {"words": words}
    left = iter(args)
    for word in left:
        if not word.startswith("-"):
            words.append(word)
        elif word in ("--config", "--target"):
            value = next(left, None)
            if value is None:
                return None
            params[word.removeprefix("--")] = Path(value) if word == "--config" else value
        elif word not in flags:
            return None
    if incomplete.startswith("-"):
        return None
    if not words:
        return _commands(Line("restbroker enqueue", params), incomplete)
    params["command"] = words.pop(0)
    return _words(Line("restbroker enqueue", params), incomplete)


def source(context: Asked, parameter: str) -> Source | None:
    """Where the candidates for this parameter of a command come from; None: from the parameter itself."""
    words = context.command_path.split()[1:]
    command, verb = words[0] if words else "", words[1] if len(words) > 1 else ""
    by_place = _PLACES.get((command, parameter))
    if command == "processes" and verb == "cancel":
        return _in_hand
    return by_place or _ANYWHERE.get(parameter)


def command_names(incomplete: str) -> list[str]:
    """The newest catalogues' commands that begin like this; the configuration is not asked, since it may be broken."""
    names = {name for kind in registry.KINDS for name in registry.catalogue(kind).commands}
    return sorted(name for name in names if name.startswith(incomplete))


def _settings(context: Asked) -> Any:  # noqa: ANN401 - Config, whose module is imported when it is needed
    """The configuration that the line names, behind the verb or before it."""
    # Not `console.configured`, which needs Typer.
    from restbroker.config.load import load
    from restbroker.events import registry as sources

    named: list[Path] = []
    at: Asked | None = context
    while at is not None:
        path = at.params.get("config")
        named += [path] if isinstance(path, Path) else []
        at = at.parent
    return load(named[0] if named else None, os.environ, {}, registry.kinds(), sources.kinds()).config


@contextmanager
def _store(context: Asked) -> Iterator[tuple[Any, Any]]:
    """The configuration, and a client that does not wait for long."""
    from restbroker.operate.connect import open_store

    settings = _settings(context)
    # Only a thread is not held up by a resolver that does not answer. Whoever pressed Tab has waited long enough then.
    watch = threading.Timer(_NETWORK_S, os._exit, (0,))
    watch.daemon = True
    watch.start()
    try:
        with open_store(settings, _REDIS_S) as client:
            yield settings, client
    finally:
        watch.cancel()


def _targets(context: Asked, _: str) -> Iterator[Offer]:
    for target in _settings(context).targets:
        yield Offer(target.name, f"{target.kind}, queues: {', '.join(target.queues)}")


def _queues(context: Asked, _: str) -> Iterator[Offer]:
    settings = _settings(context)
    yield from (Offer(name, "served by this configuration") for name in settings.queues)
    from restbroker.errors import RestbrokerError
    from restbroker.store import queues

    try:
        with _store(context) as (_config, client):
            yield from map(Offer, sorted(queues.names(client) - {*settings.queues}))
    except RestbrokerError:
        return  # those of the configuration are known all the same


def _jids(context: Asked, _: str) -> Iterator[Offer]:
    """The newest of the sets that the command is about, without those that the line has already."""
    from restbroker.console.jobs import tokens
    from restbroker.operate import jobs

    command = context.command_path.split()[1]
    sets = {command: _SETS[command]} if command in _SETS else _SETS
    given = {*(context.params.get("jids") or ())}
    with _store(context) as (settings, client):
        for zset in sets.values():
            for job in jobs.listed(client, zset, _MOST // len(sets), tokens(settings)):
                if job.jid and job.jid not in given:
                    yield Offer(job.jid, " ".join(word for word in (job.command, job.error_class) if word))


def _in_hand(context: Asked, _: str) -> Iterator[Offer]:
    from restbroker.console.jobs import tokens
    from restbroker.operate import processes

    with _store(context) as (settings, client):
        for process in processes.processes(client, tokens(settings)):
            for one in islice(process.jobs, _MOST):
                if one.job.jid:
                    yield Offer(one.job.jid, f"{one.name or ''} in hand of {process.name}")


def _processes(context: Asked, _: str) -> Iterator[Offer]:
    from restbroker.console.jobs import tokens
    from restbroker.operate import processes

    with _store(context) as (settings, client):
        for process in processes.processes(client, tokens(settings)):
            yield Offer(process.name, process.version or "")


def _users(context: Asked, _: str) -> Iterator[Offer]:
    from restbroker.rosters import operate as rosters

    with _store(context) as (_config, client):
        yield from map(Offer, sorted(islice(rosters.users(client), _MOST)))


def _sources(context: Asked, _: str) -> Iterator[Offer]:
    events = _settings(context).events
    yield from (Offer(one.name, one.kind) for one in (events.sources if events else ()))


def _conditions(context: Asked, typed: str) -> Iterator[Offer]:
    """`error=`, and behind it what may stand there; this form needs no quotes."""
    from restbroker.cli import codes
    from restbroker.operate import where

    field, sign, _ = typed.partition("=")
    if not sign:
        yield from (Offer(f"{name}=") for name in (*where.FIELDS, *(f"{name}!" for name in where.TEXTS)))
        return
    values: Mapping[str, Source] = {"queue": _queues, "target": _targets, "command": _commands, "jid": _jids}
    name = field.removesuffix("!")
    found: Iterable[Offer] = ()
    if name == "error":
        found = map(Offer, codes.names())
    elif name in where.TIMES:
        found = map(Offer, ("today", "yesterday"))
    elif name in values:
        found = values[name](context, "")
    yield from (attrs.evolve(one, text=f"{field}={one.text}") for one in found)


def _commands(context: Asked, _: str) -> Iterator[Offer]:
    """Those of the configured targets; without a configuration, of all kinds."""
    catalogues = _catalogues(context)
    for name in sorted({name for catalogue in catalogues for name in catalogue.commands}):
        yield Offer(name)


def _catalogues(context: Asked, command: str = "") -> list[Any]:
    from restbroker.errors import RestbrokerError

    wanted = context.params.get("target")
    try:
        targets = [one for one in _settings(context).targets if wanted in (None, one.name)]
    except RestbrokerError:
        targets = []
    found = [registry.catalogue_of(one, None, command) for one in targets]
    return found or [registry.catalogue(kind) for kind in registry.KINDS]


def _first_words(context: Asked, typed: str) -> Iterator[Offer]:
    """The command; what follows it has no names."""
    if not context.params.get("words"):
        yield from _commands(context, typed)


def _words(context: Asked, typed: str) -> Iterator[Offer]:
    """`user=` and its like, of the command in front; behind `=@` the names of files."""
    name, sign, value = typed.partition("=")
    if sign and value.startswith("@"):
        yield from (Offer(f"{name}=@{path}") for path in _files(value[1:]))
        return
    given = list(context.params.get("words") or ())
    command = str(context.params.get("command") or "")
    taken = {word.partition("=")[0].removesuffix(":") for word in given}
    for catalogue in _catalogues(context, command):
        spec = catalogue.commands.get(catalogue.name_in(command))
        for argument in () if spec is None else spec.arguments:
            if argument.name not in taken:
                taken.add(argument.name)
                # What is typed in the line stands in the shell's history.
                sign = "=@" if argument.secret else "="
                said = argument.type + (", optional" if argument.optional else "") + ", secret" * argument.secret
                yield Offer(argument.name + sign, said)


def _files(typed: str) -> Iterator[str]:
    """Names that begin like this; folders end with a stroke."""
    folder = Path(typed if typed.endswith("/") else Path(typed).parent)
    prefix = typed[: typed.rfind("/") + 1]
    for path in islice(sorted(folder.iterdir()), 1000):
        yield prefix + path.name + ("/" if path.is_dir() else "")


def _kinds(_: Asked, __: str) -> Iterator[Offer]:
    yield from map(Offer, registry.KINDS)


def _tags(context: Asked, _: str) -> Iterator[Offer]:
    for catalogue in _catalogues(context):
        yield from map(Offer, sorted({tag for spec in catalogue.commands.values() for tag in spec.tags}))


_ANYWHERE: Final[Mapping[str, Source]] = {
    "target": _targets,
    "from_target": _targets,
    "queue": _queues,
    "where": _conditions,
    "jids": _jids,
}
"""By the parameter's name, in every command."""

_PLACES: Final[Mapping[tuple[str, str], Source]] = {
    ("ctl", "words"): _first_words,
    ("enqueue", "command"): _commands,
    ("enqueue", "words"): _words,
    ("commands", "name"): _commands,
    ("commands", "kind"): _kinds,
    ("commands", "tag"): _tags,
    ("queues", "name"): _queues,
    ("targets", "name"): _targets,
    ("processes", "names"): _processes,
    ("dead", "jid"): _jids,
    ("dead", "restored"): _jids,
    ("retries", "jid"): _jids,
    ("scheduled", "jid"): _jids,
    ("explain", "jid"): _jids,
    ("events", "source"): _sources,
    **{("roster", name): _users for name in ("user", "users", "a", "b")},
}
"""By command and parameter, for names that mean something else in other commands."""
