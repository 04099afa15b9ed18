"""Prints how large each room and the manual are, the longest files, calls with many positional arguments, and how many
recorded answers of servers are assumed. `make house` runs it.
"""

import ast
import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]


def measured(text: str, nodes: list[ast.AST]) -> tuple[int, int, int]:
    """Count file, lines, and lines that are neither blank nor comment nor docstring."""
    lines = text.splitlines()
    texts = [node for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    docstrings = {line for node in texts for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    written = [line for number, line in enumerate(lines, 1) if number not in docstrings and line.strip()]
    return 1, len(lines), sum(not line.lstrip().startswith("#") for line in written)


def answers() -> list[str]:
    """Return a row for each server and version below tests/recorded: how many of its answers were recorded, and not."""
    recorded, assumed = Counter[str](), Counter[str]()
    for file in sorted((ROOT / "tests/recorded").glob("*/*/*.json")):
        exchanges = json.loads(file.read_text("utf-8"))["exchanges"]
        server = f"{file.parts[-3]} {file.parts[-2]}"
        assumed[server] += (number := sum("assumed" in one for one in exchanges))
        recorded[server] += len(exchanges) - number
    rows = [f"{recorded[server]:8} {assumed[server]:7}  {server}" for server in recorded]
    return ["recorded assumed", *rows, f"{recorded.total():8} {assumed.total():7}  all"]


def manual() -> list[str]:
    """Return the number of words of all that people read, with the examples, without appendix and decisions."""
    pages = [*ROOT.glob("[CRS]*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/servers/*.md")]
    pages += ROOT.glob("examples/*/README.md")
    words = sum(len(page.read_text("utf-8").split()) for page in pages if page.name != "CHANGELOG.md")
    return ["Words of the manual, which should be 55,000 at most", f"{words:8,}"]


def main() -> None:
    """Print all of it."""
    rooms: defaultdict[str, list[tuple[int, int, int]]] = defaultdict(list)
    longest, calls = [], []
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in listed.split():
        text = (ROOT / name).read_text("utf-8")
        nodes = list(ast.walk(ast.parse(text)))
        size = measured(text, nodes)
        for room in {name.partition("/")[0], "/".join(name.split("/")[:2])}:
            rooms[room].append(size)
        longest.append((size[1], name))
        many = [node for node in nodes if isinstance(node, ast.Call) and len(node.args) > 4]
        calls += [(len(node.args), f"{name}:{node.lineno} {ast.unparse(node.func)}") for node in many]
    rows = ["files   lines    code"]
    for room, sizes in sorted(rooms.items()):
        files, lines, code = map(sum, zip(*sizes, strict=True))
        rows.append(f"{files:5} {lines:7,} {code:7,}  {room}")
    for title, found in (("Longest files", longest), (f"{len(calls)} calls with > 4 positional arguments", calls)):
        rows += ["", title, *(f"{number:5}  {what}" for number, what in sorted(found, reverse=True)[:20])]
    sys.stdout.write("\n".join([*rows, "", *answers(), "", *manual()]) + "\n")


if __name__ == "__main__":
    main()
