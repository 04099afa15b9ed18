"""How the room `broker` holds together: writes to the attributes of other objects, and imports that lead in a circle.

`python -m tools.broker_shape` prints them; `tests/house/test_broker.py` bounds them. A write counts if it assigns to an
attribute of anything but `self` or a local that the function has made itself (`thing = Thing(...)`).
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOM = Path(__file__).parents[1] / "restbroker" / "broker"
PREFIX = "restbroker.broker"


def writes() -> list[str]:
    """Return a line for each write to another object's attribute: file:line and its text."""
    return [found for path in sorted(ROOM.rglob("*.py")) for found in _writes(path)]


def circles() -> list[list[str]]:
    """Return the modules of the room that import each other in a circle, each circle once."""
    return _circles({name: set(_imports(path)) for path in ROOM.rglob("*.py") if (name := _name(path))})


def sizes() -> dict[str, int]:
    """Return {file: its lines, docstrings and blanks included}."""
    return {str(path.relative_to(ROOM)): len(path.read_text().splitlines()) for path in sorted(ROOM.rglob("*.py"))}


def _writes(path: Path) -> Iterator[str]:
    for function in ast.walk(ast.parse(path.read_text())):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        made = {
            target.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
            for target in node.targets
            if isinstance(target, ast.Name) and ast.unparse(node.value.func).rpartition(".")[2][:1].isupper()
        }
        for node in ast.walk(function):
            for target in _targets(node):
                if ast.unparse(target.value) not in {"self", "cls", *made}:
                    yield f"{path.relative_to(ROOM)}:{target.lineno} {ast.unparse(target)}"


def _targets(node: ast.AST) -> Iterator[ast.Attribute]:
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    for target in targets:
        yield from (one for one in _flat(target) if isinstance(one, ast.Attribute))


def _flat(target: ast.expr) -> Iterator[ast.expr]:
    match target:
        case ast.Tuple(elts) | ast.List(elts):
            for one in elts:
                yield from _flat(one)
        case ast.Subscript(value):
            yield from _flat(value)
        case _:
            yield target


def _name(path: Path) -> str:
    parts = path.relative_to(ROOM).with_suffix("").parts
    return ".".join((PREFIX, *(part for part in parts if part != "__init__")))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PREFIX):
            yield str(node.module)
            yield from (f"{node.module}.{one.name}" for one in node.names)


def _circles(imports: Mapping[str, set[str]]) -> list[list[str]]:
    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for name in imports[waiting.pop()] & imports.keys():
                if name not in seen:
                    seen.add(name)
                    waiting.append(name)
        return seen

    reached = {name: reach(name) for name in imports}
    found = {frozenset((name, *(o for o in reached[name] if name in reached[o]))) for name in imports}
    return [sorted(circle) for circle in found if len(circle) > 1]


def main() -> None:
    """Print all of it."""
    outside, lines = writes(), sizes()
    rows = [f"{count:5}  {name}" for name, count in lines.items()]
    rows += [
        f"{sum(lines.values()):5}  lines in {len(lines)} files",
        "",
        *outside,
        f"{len(outside)} outside writes",
        "",
    ]
    rows += [*(" <-> ".join(one) for one in circles()), f"{len(circles())} circles"]
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
