"""The converter, which makes attrs classes of JSON: strict, and with every problem, not the first alone.

Called by `config.load`. Names are made proper first (`config.names`). cattrs finds the hook of each type. All hooks are
ours, since its own take `3.7` for 3, `true` for 1, "abc" for a list; none is generated, since that costs more than to
read a class once, as we do. Always holds: a value that its key does not take becomes a problem that says where it is,
what is wanted and what was found, but for a secret's; a type without a form is refused.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias

import attrs
from cattrs import BaseConverter

from restbroker.config.form import SWITCH, TEXT, Chosen, Form, Items, Keys, Names, OptionsOf, look
from restbroker.config.key import Members, T, keys_of, make
from restbroker.config.review import Review, at, first_of, shown
from restbroker.config.values import BadValue
from restbroker.job.json_types import Json

_Hook: TypeAlias = Callable[[Any, Any], Any]
_Part: TypeAlias = tuple[str, Callable[[], object], bool | None]
"""A part's place in its whole, what reads it, and whether it is a secret; None: if the whole is one."""


def _problems_in(wrong: BadValue | ExceptionGroup[Exception]) -> list[BadValue]:
    """Each value that is wrong."""
    return [one for one in ([wrong] if isinstance(wrong, BadValue) else wrong.exceptions) if isinstance(one, BadValue)]


def _read_all(parts: Iterable[_Part]) -> list[Any]:
    """What each part reads. Raises a group of all that is wrong in any."""
    read: list[object] = []
    problems: list[BadValue] = []
    for place, part, secret in parts:
        try:
            read.append(part())
        except (BadValue, ExceptionGroup) as wrong:
            for problem in _problems_in(wrong):
                problem.where = at(place, problem.where)
                problem.secret = secret if problem.secret is None else problem.secret
                problems.append(problem)
    if problems:
        raise ExceptionGroup("values that their keys do not take", problems)
    return read


def _value(form: Form) -> _Hook:
    return lambda value, _: form.read(value)


def _listed(items: Items, converter: BaseConverter) -> _Hook:
    item = converter.get_structure_hook(items.item)
    weights = None if items.weights is None else converter.get_structure_hook(items.weights)

    def read(value: Json, _: object) -> object:
        if isinstance(value, Mapping) and weights is not None:
            return weights(value, None)
        if not isinstance(value, list):
            raise BadValue(items.expected, value)
        return tuple(_read_all((f"[{number}]", partial(item, one, None), None) for number, one in enumerate(value)))

    return read


def _named(names: Names, converter: BaseConverter) -> _Hook:
    entry = converter.get_structure_hook(names.entry)

    def check(name: str) -> None:
        if not re.fullmatch(names.pattern, name):
            raise BadValue(names.expected, shown(name))

    def read(value: Json, _: object) -> object:
        if not isinstance(value, Mapping):
            raise BadValue(f"an object: {names.name}", value)
        parts: list[_Part] = []
        for name, one in value.items():
            parts += [(shown(name), partial(check, name), False), (shown(name), partial(entry, one, None), None)]
        entries = zip(value, _read_all(parts)[1::2], strict=True)
        return tuple(attrs.evolve(one, name=name) for name, one in entries) if names.is_tuple else dict(entries)

    return read


def _object(members: Members, converter: BaseConverter) -> _Hook:
    keys = keys_of(members)

    def part(name: str, value: Json) -> _Part:
        # Made when it is needed: few of the keys are written, and some need a module of their own.
        return name, lambda: converter.get_structure_hook(keys[name].type)(value, None), keys[name].secret

    def read(value: Json, _: object) -> object:
        if not isinstance(value, Mapping):
            raise BadValue(f"an object of {', '.join(keys)}", value)
        parts = (part(name, one) for name, one in value.items())
        return make(members, dict(zip(value, _read_all(parts), strict=True)))

    return read


def _options(value: Json, _: object) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise BadValue("an object", value)
    return value


def _hook(annotation: Any, converter: BaseConverter) -> _Hook:  # noqa: ANN401  a type
    match look(annotation):
        case Form() as form:
            return _value(form)
        case Items() as items:
            return _listed(items, converter)
        case Names() as names:
            return _named(names, converter)
        case OptionsOf():
            return _options
        case Keys(members):
            return _object(members, converter)


def _refuse(_: object, __: object) -> NoReturn:
    raise TypeError("It is not said how such a value is written.")


def _converter() -> BaseConverter:
    made = BaseConverter()
    made.register_structure_hook_factory(lambda _: True, _hook)
    # For these cattrs asks no factory.
    made.register_structure_hook(str, _value(TEXT))
    made.register_structure_hook(bool, _value(SWITCH))
    for plain in (int, float, bytes):
        made.register_structure_hook(plain, _refuse)
    return made


CONVERTER: Final = _converter()


def read(members: type[T], document: Mapping[str, Json], review: Review) -> T:
    """The object, whose names are proper, without those of its members that cannot be read.

    What is wrong with these becomes a problem in `review`. Of a target, token or source its own member is left out.
    Options are left as they are, for `read_options`.
    """
    try:
        made = CONVERTER.structure(document, members)
    except ExceptionGroup as wrong:
        for problem in _problems_in(wrong):
            review.refuse_unread(problem.where, str(problem))
        made = _what_is_left(members, document, review)
    else:
        made = _what_is_left(members, document, review) if review.out else made
    for name in review.unread & document.keys():
        _read_inside(document[name], name, review)
    return made


def _what_is_left(members: type[T], document: Mapping[str, Json], review: Review) -> T:
    kept = {name: _kept(one, name, review) for name, one in document.items() if name not in review.unread}
    try:
        return CONVERTER.structure(kept, members)
    except ExceptionGroup as wrong:
        # What is wrong was told. Where a name has a dot in it, its place is not that of a member.
        review.unread |= {first_of(problem.where) for problem in _problems_in(wrong)}
        return CONVERTER.structure({name: one for name, one in kept.items() if name not in review.unread}, members)


def _kept(value: Json, place: str, review: Review) -> Json:
    """The value without what is left out of it."""
    if not isinstance(value, Mapping) or isinstance(value, Chosen):
        return value
    kept = {}
    for name, one in value.items():
        inside = at(place, shown(name))
        # A name with a dot in it is no member's, though its place looks like one.
        if "." in name or not review.is_left_out(inside):
            kept[name] = _kept(one, inside, review)
    return kept


def _read_inside(value: Json, place: str, review: Review) -> None:
    """Tells what is wrong with options whose target or source cannot be judged."""
    if isinstance(value, Chosen):
        read_options(value, place, review)
    elif isinstance(value, Mapping):
        for name, one in value.items():
            _read_inside(one, at(place, shown(name)), review)


def read_options(options: Chosen, place: str, review: Review) -> object | None:
    """What they are for their kind; None, and problems in `review`, where some cannot be read."""
    try:
        made: object = CONVERTER.structure(options, options.members)
    except ExceptionGroup as wrong:
        for problem in _problems_in(wrong):
            review.tell(at(place, problem.where), str(problem))
        return None
    return made if options.is_whole else None
