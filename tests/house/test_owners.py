"""Each object of the broker changes itself: few of its attributes are assigned from outside.

`Demand` is left out: it is there for those who know a number to write it.
"""

import ast
from collections.abc import Iterator
from typing import Final

from dev.tools.pages import ROOT

BROKER: Final = ROOT / "restbroker/broker"
MOST: Final = 20


def assigned(node: ast.AST) -> Iterator[ast.Attribute]:
    """The attributes that a statement assigns."""
    targets: list[ast.expr] = []
    match node:
        case ast.Assign():
            targets = node.targets
        case ast.AugAssign() | ast.AnnAssign() | ast.For() | ast.AsyncFor():
            targets = [node.target]
        case ast.With() | ast.AsyncWith():
            targets = [item.optional_vars for item in node.items if item.optional_vars is not None]
    for target in targets:
        for part in ast.walk(target):
            if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
                yield part


def is_own(attribute: ast.Attribute) -> bool:
    return ast.unparse(attribute.value).removeprefix("self.") in ("self", "cls", "demand")


def declared(tree: ast.Module) -> Iterator[str]:
    """The attributes of the classes of a file."""
    for cls in ast.walk(tree):
        if isinstance(cls, ast.ClassDef):
            fields = [field.target for field in cls.body if isinstance(field, ast.AnnAssign)]
            yield from (field.id for field in fields if isinstance(field, ast.Name))
            yield from (part.attr for node in ast.walk(cls) for part in assigned(node) if is_own(part))


def test_few_attributes_are_assigned_from_outside() -> None:
    trees = {file: ast.parse(file.read_text("utf-8")) for file in sorted(BROKER.rglob("*.py"))}
    known = {name for tree in trees.values() for name in declared(tree)}
    found = [
        f"{file.relative_to(ROOT)}:{part.lineno} {ast.unparse(part)}"
        for file, tree in trees.items()
        for node in ast.walk(tree)
        for part in assigned(node)
        if part.attr in known and not is_own(part)
    ]
    assert len(found) <= MOST, "\n".join(found)
