"""Print every text that restbroker shows to people, in one list to be read in one go: `make messages`.

File by file: the strings of three words or more in the code, what `--help` says of a command (its docstring), and the
texts of the web pages; then those of the pages' script and of scripts in Redis; at the end the examples of `--help`.
`{…}` stands for a value. Shorter texts (states, titles, buttons, headers) follow as one block per file, as far as they
look like words for people. Always holds: nothing is left out because of what it says, so a few texts are of no interest
to a reader (a pattern, a query).
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.pages import ROOT

EXAMPLES: Final = ROOT / "restbroker/cli/examples.txt"
COMMANDS: Final = ("import_", "export")
"""Functions that another module makes commands of."""
_SILENT: Final = ("store", "transport", "standins", "fast")
"""Rooms whose short texts are of protocols: commands of Redis, headers of HTTP."""
_WORDS: Final = re.compile(r"(?:[^\W\d_]{2,}[^\w\n]+){2,}[^\W\d_]{2,}")
_SHORT: Final = re.compile(
    r"(?:[A-Z]?[a-z]+|[A-Z]{2,}|\{…\}|…|\d+)(?:[ '-](?:[A-Za-z]+|\{…\}|\d+)){0,4}[.:?!…]?", re.ASCII
)
"""What a state, title, button or column's header looks like."""
_PLAIN: Final = re.compile(r"[A-Z][a-z]{2,}|[A-Z]{2,}|[A-Za-z]{2,}[ '].*[A-Za-z]{2,}.*|.*[A-Za-z]{2,}[:?!…]", re.ASCII)
_MARKUP: Final = re.compile(r"\{#.*?#\}|<(?:style|script)\b.*?</(?:style|script)>|\{%.*?%\}|<[^>]+>", re.DOTALL)
_LABEL: Final = re.compile(r'(?:aria-label|title|placeholder|data-label)="([^"{]+)"')
_LETTERS: Final = re.compile(r"[^\W\d_]{2,}")
_BY_ENDING: Final = {
    "js": re.compile(r"""\bsay\("([^"]+)\""""),
    "lua": re.compile(r"error_reply\('([^']+)'\)"),
}
"""What shows a text to people in files that are not Python: the page's script, and scripts that refuse in Redis."""
_FILLED: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)


def of_code(source: str) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module as (line, text), in its order: no docstrings, but those that `--help` shows."""
    tree = ast.parse(source)
    shown = [node for node in ast.walk(tree) if _is_command(node)]
    yield from ((node.lineno, ast.get_docstring(node) or "") for node in shown if isinstance(node, ast.FunctionDef))
    hidden = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and _is_bare_text(node)}
    yield from sorted((line, text) for line, text in _strings(tree, hidden) if _WORDS.search(text))


def short_of_code(source: str) -> Iterator[str]:
    """Yield each text of fewer than three words that looks as if people read it, once."""
    tree = ast.parse(source)
    texts = dict.fromkeys(text.strip() for _, text in sorted(_strings(tree, set(_unread(tree)))))
    yield from (text for text in texts if not _WORDS.search(text) and _SHORT.fullmatch(text) and _PLAIN.fullmatch(text))


def of_template(text: str) -> Iterator[str]:
    """Yield the lines of three words or more of a Jinja template."""
    yield from (line for line in _lines(text) if _WORDS.search(line))


def short_of_template(text: str) -> Iterator[str]:
    """Yield each shorter line of a Jinja template, and each label for those who hear the page, once."""
    lines = dict.fromkeys((*_lines(text), *_LABEL.findall(text)))
    yield from (line for line in lines if not _WORDS.search(line) and _LETTERS.search(line.replace("{…}", "")))


def of_script(ending: str, text: str) -> Iterator[str]:
    """Yield the texts of a script with this ending, `js` or `lua`, each once."""
    yield from dict.fromkeys(_BY_ENDING[ending].findall(text))


def main() -> None:
    """Print the texts of all modules, then those of all templates and scripts."""
    for file in sorted(ROOT.glob("restbroker/**/*.py")):
        for line, text in of_code(file.read_text("utf-8")):
            sys.stdout.write(f"{file.relative_to(ROOT)}:{line}: {text.strip()}\n")
        if file.relative_to(ROOT / "restbroker").parts[0] not in _SILENT:
            _write_short(file, short_of_code(file.read_text("utf-8")))
    for file in sorted(ROOT.glob("restbroker/**/*.html")):
        for text in of_template(file.read_text("utf-8")):
            sys.stdout.write(f"{file.relative_to(ROOT)}: {text}\n")
        _write_short(file, short_of_template(file.read_text("utf-8")))
    for ending in _BY_ENDING:
        for file in sorted(ROOT.glob(f"restbroker/**/*.{ending}")):
            for text in of_script(ending, file.read_text("utf-8")):
                sys.stdout.write(f"{file.relative_to(ROOT)}: {text}\n")
    sys.stdout.write(EXAMPLES.read_text("utf-8"))


def _write_short(file: Path, texts: Iterator[str]) -> None:
    """Write the short texts of a file as one block, if it has some."""
    joined = " | ".join(texts)
    if joined:
        sys.stdout.write(f"{file.relative_to(ROOT)}: {joined}\n")


def _lines(template: str) -> Iterator[str]:
    """Yield the lines of text of a Jinja template, without its markup."""
    lines = _FILLED.sub("{…}", _MARKUP.sub("\n", template)).splitlines()
    yield from (line.strip() for line in lines if line.strip())


def _unread(tree: ast.Module) -> Iterator[int]:
    """Yield the ids of the nodes whose texts only code reads: docstrings, subscripts, types, comparisons."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr() if _is_bare_text(node):
                yield id(node.value)
            case ast.Subscript(slice=part):
                yield id(part)
            case ast.arg(annotation=part) | ast.AnnAssign(annotation=part) if part is not None:
                yield id(part)
            case ast.FunctionDef(returns=part) | ast.AsyncFunctionDef(returns=part) if part is not None:
                yield id(part)
            case ast.Compare(comparators=parts):
                yield from map(id, parts)
            case ast.MatchValue(value=part):
                yield id(part)
            case _:
                continue


def _is_command(node: ast.AST) -> bool:
    """Return whether it is a function behind `@app.command(…)` or `@app.callback(…)`, or one of COMMANDS."""
    match node:
        case ast.FunctionDef(name=name) if name in COMMANDS:
            return True
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
        case ast.Constant(value=str(text)) if text.startswith("{task."):
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
