"""The arguments of a server's commands, as rows of a table, and the check of a job's arguments against them. Pure.

The tables of the kinds are made of these; their requests call `fit`, their catalogues `specs_of`. Always holds: nothing
of a refused job was sent, and no refusal shows a value.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Final, Literal, NamedTuple, TypeAlias

import attrs

from restbroker.job.command import ArgumentSpec, DangerousCommands, HostSource, ValueType
from restbroker.job.endpoint import kind_of, quote
from restbroker.job.hosts import plain
from restbroker.job.json_types import Json, are_texts
from restbroker.light import field, frozen
from restbroker.servers.api.jid import is_jid

Convert: TypeAlias = Callable[[str, Json, str | None], Json]
"""A function `(name, value, host)` → what is sent for the value, or the value itself if it is not known.

`host`: the target's domain. It raises `InvalidArguments` if it can say more than `expected` does.
"""


class InvalidArguments(Exception):
    """No request can be made of the job's arguments. The text names the argument that is wrong, and shows no value."""


class ArgumentForm(NamedTuple):
    """The values that an argument may have; `expected` completes "…, where … is needed" in a refusal.

    `convert` makes the value that is sent from the job's; `fits` tells whether the result is valid. `is_text`: a text
    may be valid. `type` and `element` are shown to people and used for completion. `host_source`: how it names a
    virtual host. `nonempty`: an empty text is not valid.
    """

    expected: str
    fits: Callable[[Json], bool]
    type: ValueType = "string"
    element: Literal["string", "object"] | None = None
    host_source: HostSource | None = None
    is_text: bool = True
    convert: Convert | None = None
    nonempty: bool = False

    def take(self, name: str, value: Json, host: str | None) -> Json:
        """Return the value that is sent for a job's `value`; raise `InvalidArguments` if that is not valid.

        `name`: the argument's, for the error. `host`: the target's domain, None if it is not known.
        """
        sent = value if self.convert is None else self.convert(name, value, host)
        if not self.fits(sent):
            raise wrong_value(name, value, self)
        return sent


def is_text(value: Json) -> bool:
    """Tell whether the value is a text."""
    return isinstance(value, str)


def is_whole(value: Json) -> bool:
    """Tell whether the value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_jid(value: Json) -> bool:
    return isinstance(value, str) and is_jid(value)


TEXT: Final = ArgumentForm("a string", is_text)
NAME: Final = TEXT._replace(host_source="name")
"""The name of an account, without its domain."""
WHOLE: Final = ArgumentForm("a whole number", is_whole, "integer", is_text=False)
FLAG: Final = ArgumentForm("true or false", lambda value: isinstance(value, bool), "any", is_text=False)
TEXTS: Final = ArgumentForm("a list of strings", are_texts, "list", "string", is_text=False)
ANY: Final = ArgumentForm("any value", lambda _: True, "any")
JID: Final = ArgumentForm("a JID such as juliet@example.org", _is_jid, host_source="jid")


class Argument(NamedTuple):
    """One argument of one command."""

    name: str
    form: ArgumentForm
    required: bool = False
    secret: bool = False
    aliases: tuple[str, ...] = ()


@frozen(eq=False, repr=False)
class Arguments:
    """All arguments of a command, in the order in which people see them.

    `same`: a member of the body that repeats an argument of the path, and that argument. `by_name` (name or alias →
    row) and `required` are made once, since every job is compared with them.
    """

    rows: tuple[Argument, ...]
    same: tuple[str, str] | None = None
    by_name: Mapping[str, Argument] = field(init=False)
    required: tuple[str, ...] = field(init=False)

    @by_name.default
    def _by_name(self) -> Mapping[str, Argument]:
        return {name: row for row in self.rows for name in (row.name, *row.aliases)}

    @required.default
    def _required(self) -> tuple[str, ...]:
        return tuple(row.name for row in self.rows if row.required)


def needs(**forms: ArgumentForm) -> tuple[Argument, ...]:
    """Return rows of arguments that a job must give."""
    return tuple(Argument(name, form, required=True) for name, form in forms.items())


def may(**forms: ArgumentForm) -> tuple[Argument, ...]:
    """Return rows of arguments that a job can give."""
    return tuple(Argument(name, form) for name, form in forms.items())


_ROW: Final = re.compile(r"([\w-]+)(\*?)(!?)([=\w]*):?(\w*)")


def rows_of(
    takes: str, forms: Mapping[str, ArgumentForm], named: Mapping[str, str] | None = None
) -> tuple[Argument, ...]:
    """Return the rows in a text of words such as `name*!=alias:form`, by default each with the form of the name "".

    `*`: a job must give it; `!`: it is secret; `@name`: the rows of `named` with this name.
    """
    words = " ".join((named or {})[word[1:]] if word.startswith("@") else word for word in takes.split())
    return tuple(
        Argument(name, forms[form], bool(star), bool(mark), tuple(filter(None, aliases.split("="))))
        for name, star, mark, aliases, form in _ROW.findall(words)
    )


def split_request(request: str) -> tuple[str, str, tuple[str, ...]]:
    """Return method, path and names of the query of a row's request, such as `GET /rooms/{name}?type&limit`."""
    method, _, target = request.partition(" ")
    path, _, query = target.partition("?")
    return method, path, tuple(filter(None, query.split("&")))


PARTS: Final = attrs.Factory(lambda row: split_request(row.request), takes_self=True)
"""The default of a row's `parts`: those of its `request`."""


def names_in(path: str) -> tuple[str, ...]:
    """Return the names of the arguments that stand in a path as `{name}`."""
    return tuple(part[1:-1] for part in path.split("/") if part.startswith("{"))


def in_order(rows: Iterable[Argument], own: Iterable[Argument] = (), same: tuple[str, str] | None = None) -> Arguments:
    """Return the rows in the order for people, required ones first; of two rows of one name the first counts.

    `own`: rows of this command alone, each in place of the row of its name, or behind all. `same`: as in `Arguments`;
    that member is not required.
    """
    unusual = {row.name: row for row in own}
    found: dict[str, Argument] = {}
    for row in (*rows, *unusual.values()):
        found.setdefault(row.name, unusual.get(row.name, row))
    if same is not None:
        found[same[0]] = found[same[0]]._replace(required=False)
    return Arguments(tuple(sorted(found.values(), key=lambda row: not row.required)), same)


def fit(takes: Arguments, command: str, given: Mapping[str, Json], host: str | None = None) -> dict[str, Json]:
    """Return the arguments as they are sent; those that are null are left out, except for one that is needed.

    `host`: the target's domain, if it is known. Raise `InvalidArguments` if one is unknown, missing, given twice or of
    another form.
    """
    found: dict[str, Json] = {}
    for name, value in given.items():
        if value is None and name not in takes.required:
            continue
        row = takes.by_name.get(name)
        if row is None:
            raise unknown_argument(name, takes, command)
        if row.name in found:
            raise InvalidArguments(f'the argument "{row.name}" is given twice, once as {quote(name)}')
        found[row.name] = row.form.take(row.name, value, host)
    for name in takes.required:
        if name not in found:
            raise InvalidArguments(f'the argument "{name}" is missing')
    if takes.same is not None:
        member, argument = takes.same
        if found.setdefault(member, found[argument]) != found[argument]:
            raise InvalidArguments(f'the arguments "{member}" and "{argument}" differ, and must be the same')
    return found


def unknown_argument(name: str, takes: Arguments, command: str) -> InvalidArguments:
    """Return the refusal of an argument that the command does not have."""
    meant = did_you_mean(name, [row.name for row in takes.rows])
    return InvalidArguments(f"there is an argument {quote(name)}, which {command} does not have{meant}")


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return the end of a refusal of an unknown name: the nearest known one, or "" if none is near."""
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def wrong_value(name: str, value: Json, form: ArgumentForm) -> InvalidArguments:
    """Return the refusal of a value that is not of this form."""
    if isinstance(value, str) and form.is_text:
        return InvalidArguments(f'the argument "{name}" is a string, but not {form.expected}')
    return InvalidArguments(f'the argument "{name}" is {kind_of(value)}, where {form.expected} is needed')


def without_host(given: Mapping[str, Json], own: str | None) -> Mapping[str, Json]:
    """Return a job's arguments without `host`; raise `InvalidArguments` if that is not the target's own."""
    host = given.get("host")
    if host is not None and (own is None or not isinstance(host, str) or plain(host) != plain(own)):
        known = "which has no Domain" if own is None else f"which is {own}'s"
        raise InvalidArguments(f'the argument "host" is not the host of this target, {known}')
    return {name: value for name, value in given.items() if name != "host"}


def specs_of(takes: Arguments) -> tuple[ArgumentSpec, ...]:
    """Return the specifications of these arguments for a catalogue."""
    return tuple(map(_spec, takes.rows))


def dangerous_commands_of(words: Mapping[str, str]) -> tuple[DangerousCommands, ...]:
    """Return the dangerous commands of a table: which parts of the server itself they touch.

    `words`: command → what it touches, such as "files"; "" for nothing.
    """
    return tuple(
        DangerousCommands(word, re.compile("|".join(re.escape(name) for name, kind in words.items() if kind == word)))
        for word in sorted({*words.values()} - {""})
    )


def _spec(row: Argument) -> ArgumentSpec:
    name, form, needed, secret, aliases = row
    return ArgumentSpec(
        name,
        form.type,
        secret,
        aliases=aliases,
        element=form.element,
        host_source=form.host_source,
        optional=not needed,
        nonempty=form.nonempty,
    )
