"""What a server's commands take, as rows that people write: the forms of arguments, and whether a job's fit. Pure.

The tables of the kinds are made of these; their requests call `fit`, their catalogues `specs_of`. Always holds: nothing
that is refused was sent, and no refusal shows a value.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Final, Literal, NamedTuple

import attrs

from restbroker.job.command import ArgumentSpec, Place, ValueType
from restbroker.job.endpoint import kind_of, quoted
from restbroker.job.hosts import plain
from restbroker.job.json_types import Json
from restbroker.servers.api.arguments import InvalidArguments
from restbroker.servers.api.jid import is_jid
from restbroker.servers.api.texts import NO_XML, fits_xml


class Form(NamedTuple):
    """What an argument may be. `wanted` completes "…, where … is needed"; `is_text`: some texts are such a value.

    `type` and `element` are what people and completion know of it. `place`: how it says which virtual host is meant.
    """

    wanted: str
    fits: Callable[[Json], bool]
    type: ValueType = "string"
    element: Literal["string", "object"] | None = None
    place: Place | None = None
    is_text: bool = True


def is_text(value: Json) -> bool:
    """Whether it is a text."""
    return isinstance(value, str)


def is_whole(value: Json) -> bool:
    """Whether it is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def are_texts(value: Json) -> bool:
    """Whether it is a list of texts."""
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_jid(value: Json) -> bool:
    return isinstance(value, str) and is_jid(value)


TEXT: Final = Form("a text", is_text)
NAME: Final = TEXT._replace(place="name")
"""An account's, without its domain."""
WHOLE: Final = Form("a whole number", is_whole, "integer", is_text=False)
FLAG: Final = Form("true or false", lambda value: isinstance(value, bool), "any", is_text=False)
TEXTS: Final = Form("a list of texts", are_texts, "list", "string", is_text=False)
ANY: Final = Form("any value", lambda _: True, "any")
JID: Final = Form("a JID such as juliet@example.org", _is_jid, place="jid")


class Argument(NamedTuple):
    """One argument of one command."""

    name: str
    form: Form
    needed: bool = False
    secret: bool = False


@attrs.frozen(eq=False, repr=False)
class Arguments:
    """All of a command, in the order in which people see them. `by_name` and `needed` are looked at for every job."""

    rows: tuple[Argument, ...]
    by_name: Mapping[str, Argument] = attrs.field(init=False)
    needed: tuple[str, ...] = attrs.field(init=False)

    @by_name.default
    def _by_name(self) -> Mapping[str, Argument]:
        return {row.name: row for row in self.rows}

    @needed.default
    def _needed(self) -> tuple[str, ...]:
        return tuple(row.name for row in self.rows if row.needed)


def needs(**forms: Form) -> tuple[Argument, ...]:
    """Return rows of arguments that a job must give."""
    return tuple(Argument(name, form, needed=True) for name, form in forms.items())


def may(**forms: Form) -> tuple[Argument, ...]:
    """Return rows of arguments that a job can give."""
    return tuple(Argument(name, form) for name, form in forms.items())


def fit(takes: Arguments, command: str, given: Mapping[str, Json]) -> dict[str, Json]:
    """Return the arguments as they are sent: without those that are null, but for one that is needed.

    Raises `InvalidArguments`.
    """
    found: dict[str, Json] = {}
    for name, value in given.items():
        if value is None and name not in takes.needed:
            continue
        row = takes.by_name.get(name)
        if row is None:
            raise unknown(name, takes, command)
        if not row.form.fits(value):
            raise wrong(name, value, row.form)
        if not fits_xml(value):
            raise InvalidArguments(f'the argument "{name}" has {NO_XML}')
        found[name] = value
    for name in takes.needed:
        if name not in found:
            raise InvalidArguments(f'the argument "{name}" is missing')
    return found


def unknown(name: str, takes: Arguments, command: str) -> InvalidArguments:
    """Return the refusal of an argument that the command does not have."""
    near = get_close_matches(name, takes.by_name, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return InvalidArguments(f"there is an argument {quoted(name)}, which {command} does not have{meant}")


def wrong(name: str, value: Json, form: Form) -> InvalidArguments:
    """Return the refusal of a value of another form."""
    if isinstance(value, str) and form.is_text:
        return InvalidArguments(f'the argument "{name}" is a text, but not {form.wanted}')
    return InvalidArguments(f'the argument "{name}" is {kind_of(value)}, where {form.wanted} is needed')


def check_host(host: Json, own: str | None) -> None:
    """Raises `InvalidArguments` unless this `host` of a job is the target's own."""
    if own is None or not isinstance(host, str) or plain(host) != plain(own):
        known = "which has no Domain" if own is None else f"which is {own}'s"
        raise InvalidArguments(f'the argument "host" is not the host of this target, {known}')


def specs_of(takes: Arguments) -> tuple[ArgumentSpec, ...]:
    """Return what people, tokens and completion know of them."""
    return tuple(map(_spec, takes.rows))


def _spec(row: Argument) -> ArgumentSpec:
    form = row.form
    return ArgumentSpec(
        row.name, form.type, secret=row.secret, element=form.element, place=form.place, optional=not row.needed
    )
