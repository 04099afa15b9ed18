"""Print every text that restbroker shows to people, in one list to be read in one go: `make messages`.

File by file: the strings of three words or more in the code, what `--help` says of a command (its docstring), and the
texts of the web pages; `{…}` stands for a value. Always holds: nothing is left out because of what it says, so a few
texts are of no interest to a reader (a pattern, a query).
"""

import ast
import re
import sys
from collections.abc import Iterator
from typing import Final

from tools.pages import ROOT

_WORDS: Final = re.compile(r"(?:[^\W\d_]{2,}[^\w\n]+){2,}[^\W\d_]{2,}")
_MARKUP: Final = re.compile(r"\{#.*?#\}|<(?:style|script)\b.*?</(?:style|script)>|\{%.*?%\}|<[^>]+>", re.DOTALL)
_FILLED: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)


def of_code(source: str) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module as (line, text), in its order: no docstrings, but those that `--help` shows."""
    tree = ast.parse(source)
    shown = [node for node in ast.walk(tree) if _is_command(node)]
    yield from ((node.lineno, ast.get_docstring(node) or "") for node in shown if isinstance(node, ast.FunctionDef))
    hidden = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and _is_bare_text(node)}
    yield from sorted((line, text) for line, text in _strings(tree, hidden) if _WORDS.search(text))


def of_template(text: str) -> Iterator[str]:
    """Yield the lines of words of a Jinja template."""
    for line in _FILLED.sub("{…}", _MARKUP.sub("\n", text)).splitlines():
        if _WORDS.search(line):
            yield line.strip()


def main() -> None:
    """Print the texts of all modules, then those of all templates."""
    for file in sorted(ROOT.glob("restbroker/**/*.py")):
        for line, text in of_code(file.read_text("utf-8")):
            sys.stdout.write(f"{file.relative_to(ROOT)}:{line}: {text.strip()}\n")
    for file in sorted(ROOT.glob("restbroker/**/*.html")):
        for text in of_template(file.read_text("utf-8")):
            sys.stdout.write(f"{file.relative_to(ROOT)}: {text}\n")


def _is_command(node: ast.AST) -> bool:
    """Return whether it is a function behind `@app.command(…)` or `@app.callback(…)`."""
    match node:
        case ast.FunctionDef(decorator_list=decorators):
            named = [one.func if isinstance(one, ast.Call) else one for one in decorators]
            return any(isinstance(one, ast.Attribute) and one.attr in {"command", "callback"} for one in named)
        case _:
            return False


def _is_bare_text(node: ast.Expr) -> bool:
    """Return whether it is a docstring: a text that is a statement by itself. Calls that print a text are not."""
    return isinstance(node.value, ast.Constant)


def _strings(node: ast.AST, hidden: set[int]) -> Iterator[tuple[int, str]]:
    """Yield each string below the node once, what is filled in as `{…}`."""
    match node:
        case _ if id(node) in hidden:
            return
        case ast.Constant(value=str(text), lineno=line):
            yield line, text
        case ast.JoinedStr(values=values, lineno=line):
            yield line, "".join(str(one.value) if isinstance(one, ast.Constant) else "{…}" for one in values)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _strings(child, hidden)


if __name__ == "__main__":
    main()
