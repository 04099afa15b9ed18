"""The converter that makes attrs classes of JSON: strict, and reporting every problem instead of only the first.

Called by `config.load`, after `config.names` has replaced each name by its proper spelling. cattrs finds the hook of
each type. All hooks are our own, since those of cattrs take `3.7` for 3, `true` for 1 and "abc" for a list; none is
generated, since that costs more than reading a class once, as we do. Always holds: a value that its key does not take
becomes a problem that says where it is, what is expected and what was found (unless it is secret); a type without a
form is refused.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias, cast

import attrs
from cattrs import BaseConverter

from restbroker.config.error_collector import BadValues, ErrorCollector
from restbroker.config.form import SWITCH, TEXT, ConflictingValue, Form, Items, Keys, Names, OptionsOf, notation_of
from restbroker.config.key import Members, T, keys_of, make
from restbroker.config.problems import Problems, at, printable_name
from restbroker.config.values import BadValue
from restbroker.job.json_types import Json

_Hook: TypeAlias = Callable[[Any, Any], Any]


def _value(form: Form) -> _Hook:
    return lambda value, _: form.read(value)


def _list_hook(items: Items, converter: BaseConverter) -> _Hook:
    item = converter.get_structure_hook(items.item)
    weights = None if items.weights is None else converter.get_structure_hook(items.weights)

    def read(value: Json, _: object) -> object:
        if isinstance(value, Mapping) and weights is not None:
            return weights(value, None)
        if not isinstance(value, list):
            raise BadValue(items.expected, value)
        reading = ErrorCollector()
        found = [reading.part(f"[{number}]", partial(item, one, None)) for number, one in enumerate(value)]
        return reading.whole(tuple(one for one in found if one is not None))

    return read


def _mapping_hook(names: Names, converter: BaseConverter) -> _Hook:
    entry = converter.get_structure_hook(names.entry)

    def proper(name: str) -> str:
        if not re.fullmatch(names.pattern, name):
            raise BadValue(names.expected, printable_name(name), is_name=True)
        return name

    def read(value: Json, _: object) -> object:
        if not isinstance(value, Mapping):
            raise BadValue(f"an object: {names.name}", value)
        reading = ErrorCollector()
        found: dict[str, Any] = {}
        for written, one in value.items():
            # What has a wrong name is judged too, by that name as it may be shown.
            name = reading.part(printable_name(written), partial(proper, written)) or printable_name(written)
            made = reading.part(printable_name(written), partial(entry, one, None))
            if made is not None:
                found[name] = attrs.evolve(made, name=name) if names.is_tuple else made
        return reading.whole(tuple(found.values()) if names.is_tuple else found)

    return read


def _object(members: Members, converter: BaseConverter) -> _Hook:
    keys = keys_of(members)

    def part(name: str, value: Json) -> Callable[[], object]:
        # Made when it is needed: few of the keys are written, and some need a module of their own.
        return lambda: converter.get_structure_hook(keys[name].type)(value, None)

    def read(value: Json, _: object) -> object:
        if not isinstance(value, Mapping):
            raise BadValue(f"an object of {', '.join(keys)}", value)
        reading = ErrorCollector()
        found: dict[str, object] = {}
        one: Any
        for name, one in value.items():
            written = one.value if isinstance(one, ConflictingValue) else one
            made = reading.part(name, part(name, written), secret=keys[name].secret)
            if made is not None and written is one:
                found[name] = made
        return reading.whole(make(members, found))

    return read


def _options(value: Json, _: object) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise BadValue("an object", value)
    return value


def _hook(annotation: Any, converter: BaseConverter) -> _Hook:  # noqa: ANN401  a type
    match notation_of(annotation):
        case Form() as form:
            return _value(form)
        case Items() as items:
            return _list_hook(items, converter)
        case Names() as names:
            return _mapping_hook(names, converter)
        case OptionsOf():
            return _options
        case Keys(members):
            return _object(members, converter)


def _refuse(_: object, __: object) -> NoReturn:
    raise TypeError("This value has no written form.")


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


def read(members: type[T], document: Mapping[str, Json], problems: Problems, place: str = "") -> T:
    """Return `document` as an object of the class `members`, without the parts that cannot be read.

    Its names must have their proper spelling (`config.names`); `place` is its place in the file. Each part that cannot
    be read becomes a problem in `problems`. Options are left as they are: the class of their kind reads them later.
    """
    try:
        return CONVERTER.structure(document, members)
    except BadValues as wrong:
        for problem in wrong.problems:
            where = at(place, problem.where)
            problems.add(where, str(problem))
            if problem.is_name:
                problems.misnamed.add(where.removesuffix(f".{problem.value}"))
            else:
                problems.leave_out(where)
        return cast("T", wrong.partial)
