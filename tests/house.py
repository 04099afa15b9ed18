"""Measures the house: how long files and functions are, what is documented, annotated and tested. `make house` runs it.

Always holds: a function's length is that of its code, without its docstring and
decorators; only what is written down in the repository is measured, not how it runs.
"""

import ast
import io
import statistics
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs

_ROOT = Path(__file__).parents[1]
_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@attrs.frozen
class Length:
    """How many lines something has, and where it stands."""

    lines: int
    where: str


@attrs.frozen
class House:
    """What was found in some files. `public` counts names without a leading underscore, in classes likewise."""

    files: Sequence[Length]
    functions: Sequence[Length]
    public: int
    documented: int
    annotated: int
    modules_documented: int
    comments: int
    tests: int

    @property
    def lines(self) -> int:
        """Of all files."""
        return sum(one.lines for one in self.files)


def measured(paths: Sequence[Path], root: Path) -> House:
    """What these files have. Raises SyntaxError if one is not Python."""
    files, functions, comments, modules = [], [], 0, 0
    public: list[_Function] = []
    annotated = tests = 0
    for path in paths:
        text, where = path.read_text(encoding="utf-8"), str(path.relative_to(root))
        tree = ast.parse(text)
        files.append(Length(text.count("\n"), where))
        modules += ast.get_docstring(tree) is not None
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        comments += sum(token.type == tokenize.COMMENT for token in tokens)
        for function, is_public in _functions(tree):
            functions.append(Length(_length(function), f"{where}:{function.lineno} {function.name}"))
            annotated += _is_annotated(function)
            tests += function.name.startswith("test_")
            if is_public:
                public.append(function)
    documented = sum(ast.get_docstring(function) is not None for function in public)
    return House(files, functions, len(public), documented, annotated, modules, comments, tests)


def _functions(tree: ast.AST, *, is_public: bool = True) -> Iterator[tuple[_Function, bool]]:
    """Every function, nested ones too, and whether others may call it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, _Function):
            yield node, is_public and not node.name.startswith("_") and not _is_setter(node)
            yield from _functions(node, is_public=False)
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, is_public=is_public and not node.name.startswith("_"))
        else:
            yield from _functions(node, is_public=is_public)


def _is_setter(function: _Function) -> bool:
    """What it sets is documented where it is got."""
    return any(isinstance(one, ast.Attribute) and one.attr == "setter" for one in function.decorator_list)


def _length(function: _Function) -> int:
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    told = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - told


def _is_annotated(function: _Function) -> bool:
    given = function.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    own = [one for one in arguments if one.arg not in ("self", "cls")]
    return function.returns is not None and all(one.annotation is not None for one in own)


def _spread(lengths: Sequence[Length]) -> str:
    ordered = sorted(one.lines for one in lengths)
    p90, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.9, 0.99))
    return f"{statistics.median(ordered):g}, {p90}, {p99}, {ordered[-1]}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.0f} %"


def table(product: House, tests: House) -> str:
    """The figures, as Markdown. The norms are what twenty well-kept Python projects have at their best."""
    both = (product, tests)
    rows = [
        ("files · lines", *(f"{len(one.files)} · {one.lines:,}" for one in both), ""),
        ("lines of a file: median, p90, p99, longest", *(_spread(one.files) for one in both), "60–250, none above 600"),
        (
            "lines of a function: median, p90, p99, longest",
            *(_spread(one.functions) for one in both),
            "5–7, 25, 80, none above 100",
        ),
        ("modules with a docstring", *(_share(one.modules_documented, len(one.files)) for one in both), "100 %"),
        ("functions annotated", *(_share(one.annotated, len(one.functions)) for one in both), "100 %"),
        ("public functions with a docstring", _share(product.documented, product.public), "", "80 %"),
        ("comments per 100 lines", *(f"{100 * one.comments / one.lines:.1f}" for one in both), "1–15"),
        ("tests", "", f"{tests.tests:,}", ""),
        ("lines of tests for a line of product", "", f"{tests.lines / product.lines:.2f}", "1.2–1.8"),
    ]
    head = ["| | restbroker | its tests | norm |", "|---|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def longest(lengths: Sequence[Length], count: int) -> str:
    """The longest of these, one a line."""
    return "\n".join(f"{one.lines:5} {one.where}" for one in sorted(lengths, key=lambda one: -one.lines)[:count])


def kept(folder: str) -> list[Path]:
    """The Python files that the repository keeps there."""
    command = ["git", "ls-files", f"{folder}/*.py"]
    listed = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True)
    return [_ROOT / line for line in listed.stdout.splitlines()]


def main() -> None:
    """Prints the table, then the longest files and functions of the product."""
    product, tests = (measured(kept(folder), _ROOT) for folder in ("restbroker", "tests"))
    sys.stdout.write(f"{table(product, tests)}\n\nLongest files:\n{longest(product.files, 12)}\n")
    sys.stdout.write(f"\nLongest functions:\n{longest(product.functions, 25)}\n")


if __name__ == "__main__":
    main()
