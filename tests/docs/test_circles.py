"""No file and no folder imports itself by way of others, not even for types alone, which `make lint` leaves out."""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest


def circles(package: str) -> Iterator[list[str]]:
    """Yield one circle of each folder whose files and folders have any, and one of the files as such.

    All import statements count, also those inside functions and under `TYPE_CHECKING`.
    """
    graph = grimp.build_graph(package, cache_dir=None)
    imports = [(file, known) for file in graph.modules for known in graph.find_modules_directly_imported_by(file)]
    yield from _circle(imports)
    for folder in graph.modules:
        inside = [(_part(folder, file), _part(folder, known)) for file, known in imports]
        yield from _circle([(part, known) for part, known in inside if part and known and part != known])


def _part(folder: str, module: str) -> str:
    """Return which file or folder right inside this folder a module is, or is in; "" for those outside."""
    rest = module.removeprefix(f"{folder}.")
    return "" if rest == module else f"{folder}.{rest.partition('.')[0]}"


def _circle(imports: list[tuple[str, str]]) -> Iterator[list[str]]:
    sorter = TopologicalSorter[str]()
    for part, known in imports:
        sorter.add(part, known)
    try:
        sorter.prepare()
    except CycleError as error:
        yield error.args[1]


def test_no_import_leads_back() -> None:
    assert list(circles("restbroker")) == []


@pytest.mark.parametrize(
    "files",
    [
        {"a": "import circled.b", "b": "def f():\n    from circled import c", "c": "from circled.a import x"},
        {"a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import b", "b": "from .a import x"},
        {"a/one": "from circled.b import two", "b/two": "", "b/three": "from circled.a.four import x", "a/four": ""},
        {"a/__init__": "from circled.a.one import x", "a/one": "import circled.a"},
    ],
    ids=["of three, in a function", "for types", "of folders", "of a folder and its file"],
)
def test_each_circle_is_found(files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"__init__": "", **files}.items():
        file = tmp_path / f"circled/{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert list(circles("circled")) != []
