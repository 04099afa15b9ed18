"""The page that leads into the code: its picture of the rooms is that of the imports, and what it names is there."""

import re

from tools.pages import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
NAMED = re.compile(r"`([\w/]+\.(?:py|lua))`(?:, `(?!\w+\.py)(?:\w+\.)?(\w+)`)?")
DOTTED = re.compile(r"`(?!attrs\.)([a-z_/]+)\.(?!py`|lua`|json`)([a-z_]+)`")
FOR_TYPES = re.compile(r"^if TYPE_CHECKING:.*\n(?:    .*\n|\n)+", re.MULTILINE)
IMPORTED = re.compile(r"^ *(?:from|import) restbroker(?:\.(\w+)| import ([a-z]\w*))", re.MULTILINE)


def test_rooms_import_only_those_below_them_in_the_picture() -> None:
    picture = PAGE.partition("## Rooms")[2].partition("A **target**")[0]
    rows = re.findall(r"^    (\S.*?)  ", picture, re.MULTILINE)
    floors = {room: floor for floor, row in enumerate(rows) for room in row.split(" | ")}
    place = ROOT / "restbroker"
    files = {file: file.relative_to(place).parts[0].removesuffix(".py") for file in place.rglob("*.py")}
    rooms = {file: room for file, room in files.items() if not room.startswith("__")}
    assert set(rooms.values()) == set(floors)
    used = {
        (str(file), room, below or beside)
        for file, room in rooms.items()
        for below, beside in IMPORTED.findall(FOR_TYPES.sub("", file.read_text("utf-8")))
    }
    assert [one for one in used if one[1] != one[2] and floors[one[2]] <= floors[one[1]]] == []


def test_a_registry_names_folders_that_are_there_and_that_it_may_know() -> None:
    known = {
        "servers/registry.py": {"servers", "rosters"},
        "servers/packages.py": {"servers"},
        "events/registry.py": {"servers", "events"},
    }
    place = ROOT / "restbroker"
    named = {
        (str(file.relative_to(place)), name)
        for file in place.rglob("*.py")
        for name in re.findall(r'"restbroker\.(?!invalid")([\w.]+)"', file.read_text("utf-8"))
    }
    assert {file for file, _ in named} == set(known)
    assert [(file, name) for file, name in named if name.partition(".")[0] not in known[file]] == []
    assert [name for _, name in named if not place.joinpath(*name.split("."), "__init__.py").exists()] == []


def test_each_file_and_function_that_the_page_names_exists() -> None:
    found = {
        f"/{file}": file.read_text("utf-8") for end in ("py", "lua") for file in ROOT.glob(f"restbroker/**/*.{end}")
    }
    missing = []
    for path, name in {*NAMED.findall(PAGE), *((f"{module}.py", name) for module, name in DOTTED.findall(PAGE))}:
        texts = [text for file, text in found.items() if file.endswith(f"/{path}")]
        if not any(re.search(rf"(?:def|class) {name}\b" if name else "", text) for text in texts):
            missing.append((path, name))
    assert not missing
