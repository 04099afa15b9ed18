"""Each regular expression of the product takes a time that grows as its text does, whatever a stranger writes.

Always holds: the expressions are found in the syntax tree, and made and called as their modules do it. For each repeat
without an end there are three kinds of text: what leads to it, and then what it takes, again and again; both again and
again; what leads to it, again and again. Behind each stands a character that makes it fail.
"""

import ast
import importlib
import re
import time
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cached_property
from itertools import product
from typing import Any, Final

import attrs
import pytest

from dev.tools.pages import ROOT

PRODUCT: Final = ROOT / "restbroker"
parser, compiler = importlib.import_module("re._parser"), importlib.import_module("re._compiler")
CODES: Final = {parser.LITERAL, parser.RANGE}
REPEATS: Final = {parser.MAX_REPEAT, parser.MIN_REPEAT, parser.POSSESSIVE_REPEAT}
CALLS: Final = {"search", "match", "fullmatch", "split", "findall", "finditer", "sub"}
FLAGS_AT: Final = {"compile": 1, "split": 3, "sub": 4}
SIZES: Final = (20, 300, 2_500, 10_000, 20_000, 40_000)
"""In characters; the first ones find what takes so much more than its square that it would not end."""
MOST_S, GROWTH = 0.02, 3
ENDS: Final = ("\0", "a")
CHARACTERS: Final = "a 0-.\n,<\"'\0\xe9"
LOCALS: Final[Mapping[str, Mapping[str, str]]] = {
    "bulk/rows.py": {"is_rejects": "True", "separator": "','", "mark": "','", "cell": "_CELL.format(',')"},
    "config/events.py": {"fold": "str.casefold", "pattern": "'*a*b*'"},
    "console/causes.py": {"verb": "'See'"},
    "console/completion.py": {"form": "_CONDITION"},
    "job/hiding.py": {"text": "'abcd'"},
    "operate/forget.py": {"self": "Person('ann', 'a.b', {})", "other": r"r'(?!a\.b(?![\w-]|\.\w))[\w-]+\.\w'"},
    "servers/api/attributes.py": {"names": "['a*', 'b']"},
    "servers/api/table.py": {"words": "{'a': 'b'}", "word": "'b'"},
    "transport/http1.py": {"any_of": "b'a'"},
}
"""What functions put into their expressions."""
OPERATOR: Final = "the operator's own file or environment"
NOT_FROM_OUTSIDE: Final[Mapping[str, str]] = {
    "bulk/rows.py f'({_CELL.format(mark)})({mark}|\\r?\\n|\\r|\\\\Z)'": "whole rows that `_row_pattern` matches",
    "cli/explain_key.py _VALUES": "the product's own words",
    "config/converter.py names.pattern": OPERATOR,
    "config/forms.py _LOGIN_AT_PORT": OPERATOR,
    "config/key.py pattern": OPERATOR,
    "config/variables.py _SERVICE_LINK": OPERATOR,
}
"""Where an expression's text comes from if it meets none from outside."""


@attrs.define(eq=False, slots=False)
class Expression:
    pattern: re.Pattern[Any]
    methods: AbstractSet[str] = frozenset(CALLS)

    @cached_property
    def tree(self) -> Any:
        return parser.parse(self.pattern.pattern, self.pattern.flags & ~re.DEBUG)

    def faults(self) -> Iterator[str]:
        pairs = {pair for least in (0, 1) for pair in self.repeats(self.tree, least)}
        texts = {
            *pairs,
            *(("", start + again) for start, again in pairs),
            *(("", start) for start, _ in pairs if start),
        }
        for (start, again), method, end in product(sorted(texts), sorted(self.methods), ENDS):
            if size := self.size_too_slow(method, start, again, end):
                yield f"{method}: {start!r} + {size:,} characters of {again!r} + {end!r}"

    def repeats(self, items: Any, least: int, start: str = "") -> Iterator[tuple[str, str]]:
        """What leads to each repeat without an end, each part of it `least` times, and each text that it repeats."""
        for op, value in items:
            for inner in parts(op, value):
                yield from self.repeats(inner, least, start)
            if op in REPEATS and value[1] is parser.MAXREPEAT:
                taken = self.taken(value[2][0]) if len(value[2]) == 1 else []
                yield from ((start, again) for again in (*taken, self.example(value[2], least)) if again)
            start += self.example([(op, value)], least)

    def example(self, items: Any, least: int) -> str:
        """A short text that the items match."""
        text = ""
        for op, value in items:
            inner = parts(op, value)
            if op in REPEATS:
                text += self.example(inner[0], least) * max(value[0], least)
            elif inner:
                is_ahead = op is parser.ASSERT_NOT or (op is parser.ASSERT and value[0] > 0)
                text += "" if is_ahead else self.example(inner[0], least)
            else:
                text += chr(value) if op is parser.LITERAL else "".join(self.taken((op, value))[:1])
        return text

    def taken(self, item: tuple[Any, Any]) -> list[str]:
        """The characters that an item matches, of some and of those in the expression."""
        alone = compiler.compile(parser.SubPattern(self.tree.state, [item]), self.pattern.flags)
        return [char for char in self.characters if alone.fullmatch(self.coded(char))]

    @cached_property
    def characters(self) -> list[str]:
        """Some, and those in the expression, without those that the same items match as one before."""
        items = [*leaves(self.tree)]
        inner = [one for op, value in items for one in (value if op is parser.IN else [(op, value)])]
        known = [chr(value if op is parser.LITERAL else value[0]) for op, value in inner if op in CODES]
        self.characters, kinds = [*CHARACTERS, *known], dict[tuple[bool, ...], str]()
        taken = [{*self.taken(item)} for item in items]
        for char in self.characters:
            kinds.setdefault(tuple(char in of_one for of_one in taken), char)
        return [*kinds.values()]

    def coded(self, text: str) -> Any:
        return text if isinstance(self.pattern.pattern, str) else text.encode("latin-1", "replace")

    def size_too_slow(self, method: str, start: str, again: str, end: str) -> int:
        """The size from which on the text takes too long; 0 if there is none."""
        for size in SIZES:
            half, whole = (start + again * (part // len(again)) + end for part in (size // 2, size))
            took_s = self.took_s(method, whole)
            if size >= SIZES[2] and took_s < MOST_S * (size / SIZES[-1]) ** 2:
                break  # if it grows as the square, the longest text stays below
            if took_s > MOST_S:
                half_s, whole_s = (min(self.took_s(method, text) for _ in range(2)) for text in (half, whole))
                if whole_s > max(MOST_S, GROWTH * half_s):
                    return size
        return 0

    def took_s(self, method: str, text: str) -> float:
        given, call = self.coded(text), getattr(self.pattern, method)
        began_s = time.thread_time()
        found = call(self.coded(""), given) if method == "sub" else call(given)
        if method == "finditer":
            list(found)
        return time.thread_time() - began_s


def parts(op: Any, value: Any) -> list[Any]:
    """What an item of an expression consists of."""
    match op:
        case parser.SUBPATTERN | parser.ATOMIC_GROUP | parser.ASSERT | parser.ASSERT_NOT:
            return [value if op is parser.ATOMIC_GROUP else value[-1]]
        case parser.BRANCH:
            return list(value[1])
        case _:
            return [value[2]] if op in REPEATS else []


def leaves(items: Any) -> Iterator[Any]:
    for item in items:
        yield from (leaf for inner in parts(*item) for leaf in leaves(inner)) if parts(*item) else [item]


def expressions() -> Iterator[tuple[str, Expression]]:
    """Each expression of the product, by its file and what it is called there."""
    for file in sorted(PRODUCT.rglob("*.py")):
        if "import re\n" not in (text := file.read_text("utf-8")):
            continue
        nodes, short = [*ast.walk(ast.parse(text))], str(file.relative_to(PRODUCT))
        space = vars(importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts)))
        space = space | {name: eval(given, space) for name, given in LOCALS.get(short, {}).items()}  # noqa: S307
        names, called = dict[int, str](), set[tuple[str, str]]()
        for node in nodes:
            match node:
                case (
                    ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value)
                ):
                    names[id(value)] = ast.unparse(target)
                case ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name), attr=method) if method in CALLS:
                    called.add((name, method))
        for node in nodes:
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=method)) if method in {
                    *CALLS,
                    "compile",
                }:
                    name = names.get(id(node)) or ast.unparse(node.args[0])
                    if f"{short} {name}" in NOT_FROM_OUTSIDE:
                        continue
                    flags = [*node.args[FLAGS_AT.get(method, 2) :], *(key.value for key in node.keywords)]
                    given = [eval(ast.unparse(part), space) for part in (node.args[0], *flags)]  # noqa: S307
                    own = {call for of, call in called if of == name} or {call for of, call in called if of != "re"}
                    yield f"{short} {name}", Expression(re.compile(*given), own if method == "compile" else {method})


def test_no_text_takes_more_than_its_length() -> None:
    slow = [f"{name} {fault}" for name, one in expressions() for fault in list(one.faults())[:1]]
    assert not slow, "\n".join(slow)


@pytest.mark.parametrize(
    ("expression", "method"),
    [
        (r"<item\b[^>]*>(.*)</item>", "search"),
        (rb"<item\b[^<>]*+>(.*)</item>", "search"),
        (r"\s*+([^\s=]*+)\s*+=\s*(.*?)\s*", "fullmatch"),
        (r"(failed for type \w{1,60}) with value .*(\. The reason)", "sub"),
        (r"c|(?:a+)+d", "match"),
    ],
)
def test_a_fault_of_each_kind_is_found(expression: str | bytes, method: str) -> None:
    """Also if only the beginning of an expression was cured."""
    assert any(Expression(re.compile(expression), {method}).faults())
