"""What Sidekiq Web shows of a job: its command as its name, and a safe copy of a job in progress.

`broker.status.record` shows jobs in progress with `payload`; `with_command_name` is for all that goes to `retry`,
`schedule` and `dead`. Code that shows a job calls `show_or_explain`, so that no job can make it fail. Sidekiq
from 6.4 on shows `display_class` in the place of the class; before, every job is an "Add". Always holds: `payload`
makes of any job a small object that every version of Sidekiq reads, and no secret is in it, in whichever field a
producer put one.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TypeVar

from restbroker.job import arguments, endpoint, hiding, redact, repair, retry, rubyjson
from restbroker.job.arguments import Submission
from restbroker.job.command import CommandSpec
from restbroker.job.hiding import MASK, Hide, Spellings
from restbroker.job.json_types import Json
from restbroker.light import frozen

T = TypeVar("T")
DISPLAY_FIELD = "display_class"
LIMIT_BYTES = 4096
_KEPT_BYTES = 200

# Longer ones are not looked through for secrets, and not shown.
_LONGEST_TEXT = 8192
# More of them in one job are not looked for either: then only its command and its times are shown.
_MOST_SECRETS = 40
_MOST_CHARACTERS = 4096
_LONGEST_NUMBER = 10**20
# Sidekiq 5 and 6 take the arguments of these apart, and those of the first even as YAML.
_TAKEN_APART = ("Sidekiq::Extensions::Delayed", "ActiveJob::", "Sidekiq::ActiveJob::")
_TIMES = ("created_at", "enqueued_at", "failed_at", "retried_at")
_TEXTS = ("class", "jid", "error_class", "error_message")


@frozen
class _Limits:
    """How much of a job is shown: entries of each list and object, levels of them, and characters of each text."""

    entries: int
    levels: int
    characters: int


# What a job that no rule foresaw can raise. Not memory that runs out, nor what ends or cancels a task.
_ODD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
# Tried one after the other, until the whole is small enough.
_LIMITS = (_Limits(20, 8, 300), _Limits(8, 4, 60), _Limits(4, 1, 40))


def show_or_explain(show: Callable[[], T], instead: Callable[[str], T]) -> T:
    """Return `show()`; if that fails because of the job, return `instead(text)`, where `text` says why.

    `text` is like "(not shown: it is nested too deeply)" and holds nothing of the job.
    """
    try:
        return show()
    except _ODD as error:
        # Not its words: they may hold a part of the job.
        why = "it is nested too deeply" if isinstance(error, RecursionError) else type(error).__name__
    return instead(f"(not shown: {why})")


def command_of(fields: Mapping[str, Json]) -> str | None:
    """Return the command that a job's `args` name, even if the rest of them is odd; None if they name none."""
    args = fields.get("args")
    if fields.get("class") == retry.UNREADABLE_CLASS:
        return None
    if isinstance(args, str):
        try:
            args = rubyjson.loads(args.encode())
        except ValueError:
            return None
    checked = endpoint.check(args[0]) if isinstance(args, list) and args else None
    return checked if isinstance(checked, str) else None


def with_command_name(fields: Mapping[str, Json], command: str | None) -> Mapping[str, Json]:
    """Return the payload with `command` as the name that Sidekiq Web shows.

    It is unchanged if its producer named it or `command` is None.
    """
    given = fields.get(DISPLAY_FIELD)
    # Sidekiq Web takes it for HTML.
    fit = isinstance(given, str) and bool(given) and repair.without_tags(given) == given
    return fields if command is None or fit else {**fields, DISPLAY_FIELD: command}


def payload(
    fields: Mapping[str, Json],
    command: str,
    queue: str,
    secrets: Spellings,
    spec: CommandSpec | None = None,
    *,
    show_bodies: bool = False,
) -> bytes:
    """Return a job as it may be shown to anyone, in at most `LIMIT_BYTES`: for display only, it cannot be pushed again.

    `command` may be empty where it is not known yet, `spec` is what the catalogue says of it; `secrets` are masked in
    every field, and so are the job's own.
    """

    def whole() -> bytes:
        own = redact.look(fields, spec, show_bodies=show_bodies)[1]
        if len(own) > _MOST_SECRETS or sum(len(secret) for secret in own if isinstance(secret, str)) > _MOST_CHARACTERS:
            return minimal_payload(fields, command, queue, secrets)
        name = with_command_name(fields, command or command_of(fields)).get(DISPLAY_FIELD)
        hides = redact.hides_of(fields, own, secrets)
        few = {key: _truncate(fields[key], _LIMITS[0], _LIMITS[0].levels) for key in (*_TEXTS, "tags") if key in fields}
        # The arguments as they are: a name that is cut away may say what is secret of those left.
        few |= {"args": fields["args"]} if "args" in fields else {}
        masked = redact.job(few, spec, show_bodies=show_bodies, hides=hides)
        numbers = _numbers(fields)
        for limits in _LIMITS:
            raw = rubyjson.dumps({**_display(masked, name, queue, hide=hides[1], limits=limits), **numbers})
            if len(raw) <= LIMIT_BYTES:
                return raw
        return minimal_payload(fields, command, queue, secrets)

    return show_or_explain(whole, lambda line: minimal_payload(fields, command, queue, secrets=secrets, args=line))


def some_arguments(
    fields: Mapping[str, Json], names: Iterable[str], secrets: Spellings, spec: CommandSpec | None
) -> dict[str, str]:
    """Return those of a job's arguments that have these names, as texts of at most 200 bytes.

    One that has something to hide is left out; message texts are hidden in any case.
    """

    def shown() -> dict[str, str]:
        args, own = redact.look(fields, spec)
        hide, read = redact.hides_of(fields, own, secrets)[1], arguments.read(args)
        given = read.command.arguments if isinstance(read, Submission) else {}
        found = {name: given[name] for name in names if given.get(name) is not None}
        texts = {name: _as_text(value) for name, value in found.items()}
        return {name: _cut_bytes(text) for name, text in texts.items() if MASK not in hide(text, len(text))}

    return show_or_explain(shown, lambda _line: {})


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else rubyjson.dumps(value).decode()


def _cut_bytes(text: str) -> str:
    return text.encode("utf-8", "backslashreplace")[:_KEPT_BYTES].decode("utf-8", "ignore")


def minimal_payload(
    fields: Mapping[str, Json], command: str, queue: str, secrets: Spellings, args: str = MASK
) -> bytes:
    """Return a job of which only its command, queue and times are shown.

    It is for a job that would take too long to search for secrets, or cannot be shown. `args`: the text in
    place of its arguments.
    """
    hide = hiding.make_hide((), secrets)
    shown: dict[str, Json] = {"class": repair.UNNAMED_CLASS}
    if command:
        shown[DISPLAY_FIELD] = repair.without_tags(hide(command, _LIMITS[-1].characters))
    shown["queue"] = repair.without_tags(hide(queue, _LIMITS[-1].characters))
    return rubyjson.dumps({**shown, "args": [args], **_numbers(fields)})


def _display(masked: Mapping[str, Json], name: Json, queue: str, hide: Hide, limits: _Limits) -> dict[str, Json]:
    characters = limits.characters
    texts = {key: hide(value, characters) for key, value in masked.items() if key in _TEXTS and isinstance(value, str)}
    shown: dict[str, Json] = {"class": repair.UNNAMED_CLASS}
    shown |= {key: repair.without_tags(text) for key, text in texts.items()}
    if str(shown["class"]).startswith(_TAKEN_APART):
        shown["class"] = repair.UNNAMED_CLASS
    if isinstance(name, str):
        shown[DISPLAY_FIELD] = repair.without_tags(hide(_cut_text(name), characters))
    shown["queue"] = repair.without_tags(hide(queue, characters))
    shown["args"] = hiding.hide_everywhere(_truncate(masked["args"], limits, limits.levels), hide, characters)
    tags = _truncate(masked.get("tags"), limits, limits.levels)
    if isinstance(tags, list):
        shown["tags"] = [repair.without_tags(hide(tag, characters)) for tag in tags if isinstance(tag, str)]
    return shown


def _numbers(fields: Mapping[str, Json]) -> dict[str, Json]:
    given = fields.get("retry")
    rule = retry.read_rule(fields)
    moments = {name: repair.seconds(fields.get(name)) for name in _TIMES}
    shown: dict[str, Json] = {name: moment_s for name, moment_s in moments.items() if moment_s is not None}
    shown["retry"] = given if isinstance(given, bool) else min(rule.max_retries, 1_000_000)
    count = retry.read_count(fields)
    return shown if count is None else {**shown, "retry_count": count}


def _truncate(value: Json, limits: _Limits, levels: int) -> Json:
    """Return the value with few enough entries and levels to look through."""
    match value:
        case str():
            return _cut_text(value)
        case list() | dict() if levels == 0 and value:
            return "…"
        case list():
            entries = [_truncate(item, limits, levels - 1) for item in value[: limits.entries]]
            more = len(value) - limits.entries
            return [*entries, f"… ({more} more)"] if more > 0 else entries
        case dict():
            members = {
                _cut_text(key): _truncate(item, limits, levels - 1) if len(key) <= _LONGEST_TEXT else MASK
                for key, item in islice(value.items(), limits.entries)
            }
            more = len(value) - limits.entries
            return {**members, "…": f"({more} more)"} if more > 0 else members
        case int() if abs(value) > _LONGEST_NUMBER:
            return "…"
        case _:
            return value


def _cut_text(text: str) -> str:
    # Not a part of it: that could end within a secret, which nothing would find then.
    return text if len(text) <= _LONGEST_TEXT else f"… ({len(text)} characters)"
