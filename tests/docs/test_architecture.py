"""The page that leads into the code names files and functions that are there."""

import re

import pytest

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
NAMED = re.findall(r"`([\w/]+\.(?:py|lua))`(?:, `(?!\w+\.py)(?:\w+\.)?(\w+)`)?", PAGE)
DOTTED = re.findall(r"`(?!attrs\.)([a-z_/]+)\.(?!py`|lua`|json`)([a-z_]+)`", PAGE)
NAMED += [(f"{module}.py", name) for module, name in DOTTED]


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED)))
def test_each_file_and_function_that_is_named_exists(path: str, name: str) -> None:
    files = [file for file in (ROOT / "restbroker").rglob(path.rpartition("/")[2]) if f"/{file}".endswith(f"/{path}")]
    assert files, path
    assert not name or any(re.search(rf"(?:def|class) {name}\b", file.read_text("utf-8")) for file in files)


def test_the_page_names_every_folder_of_the_broker() -> None:
    folders = {place.parent.name for place in (ROOT / "restbroker" / "broker").glob("*/__init__.py")}
    assert folders
    assert {folder for folder in folders if f"`{folder}`" not in PAGE} == set()
