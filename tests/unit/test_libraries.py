"""What is taken of libraries are public names, from the paths listed here: then no release breaks it in silence.

`make versions` runs this with the lowest and the highest release that pyproject.toml allows.
"""

import ast
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final

import attrs

ROOT: Final = Path(__file__).parents[2]
FILES: Final = [file for room in ("restbroker", "tools") for file in (ROOT / room).rglob("*.py")]
KNOWN: Final = {*sys.stdlib_module_names, "restbroker", "tools"}
ALLOWED: Final = {
    *("attrs", "cattrs", "hiredis", "httptools", "httpx", "httpx_sse", "jinja2", "markupsafe", "orjson", "trio"),
    *("quart", "quart_trio", "typer", "typer.core"),
    *("rich.cells", "rich.console", "rich.live", "rich.progress", "rich.table", "rich.text"),
    *("hypercorn.config", "hypercorn.typing"),
    # Parts that are put together in the place of `hypercorn.trio.serve`, which lets one stranger end all pages (0031).
    *("hypercorn.app_wrappers", "hypercorn.trio.lifespan"),
    *("hypercorn.trio.tcp_server", "hypercorn.trio.worker_context"),
    *("prometheus_client", "prometheus_client.core", "prometheus_client.registry"),
    # Which text a scraper asks for, and how a number is written in it: nothing documented does either.
    *("prometheus_client.exposition", "prometheus_client.utils"),
    # Quart's requests and errors are Werkzeug's, and it documents them as that.
    *("werkzeug.datastructures", "werkzeug.exceptions"),
    # The class that an answer without an end is made of: `quart` itself does not have it.
    "quart.wrappers.response",
    *("cronsim", "pika"),
    # The type of a channel, and the errors of connecting, which are not in `pika.exceptions`.
    *("pika.adapters.blocking_connection", "pika.adapters.utils.connection_workflow"),
    # tools/layout.py: what the site is made with.
    *("markdown_it", "mkdocs.config.defaults", "mkdocs.structure.files", "mkdocs.structure.pages"),
}
"""Import paths. Where one is not documented, the line before says why it is there."""
PUBLIC_ALL_THE_SAME: Final = {"_exit", "_replace"}
"""`os._exit`, and what every named tuple has."""


@attrs.define
class Facts:
    """Of one file. `imports`: each module, with the name out of it or "". `by_text`: calls of getattr with a text."""

    imports: set[tuple[str, str]] = attrs.field(factory=set)
    attributes: set[str] = attrs.field(factory=set)
    defined: set[str] = attrs.field(factory=set)
    keywords: set[str] = attrs.field(factory=set)
    by_text: set[str] = attrs.field(factory=set)
    classes: list[ast.ClassDef] = attrs.field(factory=list)

    @property
    def foreign(self) -> set[tuple[str, str]]:
        """Imports of libraries."""
        return {(module, name) for module, name in self.imports if module.partition(".")[0] not in KNOWN}


@cache
def facts_of(file: Path) -> Facts:
    facts = Facts()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        match node:
            case ast.Import(names):
                facts.imports |= {(name.name, "") for name in names}
            case ast.ImportFrom(module=str(module), names=names):
                facts.imports |= {(module, name.name) for name in names}
            case ast.ClassDef(name):
                facts.defined.add(name)
                facts.classes.append(node)
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.Name(name, ast.Store()):
                facts.defined.add(name)
            case ast.Attribute(ast.Name("self" | "cls"), name, ast.Store()):
                facts.defined.add(name)
            case ast.Attribute(attr=name):
                facts.attributes.add(name)
            case ast.keyword(str(name)):
                facts.keywords.add(name)
            case ast.Call(ast.Name("getattr" | "hasattr" | "setattr" | "delattr"), [_, ast.Constant(), *_]):
                facts.by_text.add(ast.unparse(node))
            case _:
                pass
    return facts


def private(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith("_") and not name.endswith("__")}


def broken_into(file: Path) -> dict[str, set[str]]:
    """For each class that extends one of a library: private names of that one which it uses, or has for itself."""
    facts, found = facts_of(file), dict[str, set[str]]()
    where = {name or module: (module, name) for module, name in facts.foreign}
    for made in facts.classes:
        for base in made.bases:
            outer, *inner = ast.unparse(base).partition("[")[0].split(".")
            if outer not in where:
                continue
            module, name = where[outer]
            extended = import_module(module)
            for step in [name] * bool(name) + inner:
                extended = vars(extended)[step]
            inside = {node.name for node in ast.walk(made) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
            inside |= {node.attr for node in ast.walk(made) if isinstance(node, ast.Attribute)}
            found[made.name] = private(inside & set(dir(extended)))
    return found


def test_libraries_are_imported_from_these_paths_and_no_other() -> None:
    found = {module: file for file in FILES for module, _ in facts_of(file).foreign}
    assert {module: file for module, file in found.items() if module not in ALLOWED} == {}
    assert set(found) == ALLOWED


def test_no_private_name_of_a_library_is_used() -> None:
    ours = {name for file in FILES for name in facts_of(file).defined} | PUBLIC_ALL_THE_SAME
    for file in FILES:
        facts = facts_of(file)
        assert private({part for each in facts.foreign for part in ".".join(each).split(".")}) == set(), file
        # ruff (SLF001) sees to those of other objects that are named as one of ours.
        assert private(facts.attributes) <= ours, file
        assert private(facts.keywords) == set(), file
        assert not any(broken_into(file).values()), (file, broken_into(file))


def test_no_attribute_is_named_by_a_text() -> None:
    assert {file: found for file in FILES if (found := facts_of(file).by_text)} == {}


def test_neither_asyncio_nor_redis_py_is_imported() -> None:
    roots = {module.partition(".")[0] for file in FILES for module, _ in facts_of(file).imports}
    assert roots & {"asyncio", "redis"} == set()


def test_what_looks_for_classes_of_libraries_finds_them() -> None:
    found = {name for file in FILES for name in broken_into(file)}
    assert {"Group", "_Bytes", "_SamplesCollector", "_UndecodedProperties"} <= found
