"""The code speaks the field's words: names that were replaced do not come back.

`words.txt` has them, one a line: classes, functions, methods and modules, without leading underscores. Local variables,
nested functions and attributes are free.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "restbroker"
REPLACED = frozenset((HERE / "words.txt").read_text().split())


def names_in(path: Path) -> Iterator[str]:
    yield path.parent.name if path.stem == "__init__" else path.stem
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
            yield from (one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def test_no_class_function_method_or_module_has_a_name_that_was_replaced() -> None:
    back = [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in names_in(path)
        if name.lstrip("_") in REPLACED
    ]
    assert back == []
