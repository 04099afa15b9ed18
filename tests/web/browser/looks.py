"""What must hold for every page and every visitor. The tests of this folder call it where they have a page open."""

from collections import Counter
from functools import partial
from itertools import pairwise
from typing import Any, Final

from tests.web.browser.visitor import Visitor

LEAST_CONTRAST: Final = 4.5
"""WCAG 2.2, level AA, for texts of any size."""
WIDTHS: Final = (400, 720, 1280)
"""A phone, a window of 80 columns, a desk."""
LONGEST_WORD: Final = 26
"""One letter more than a job's id and the like."""
_USED: Final = frozenset({"link", "button", "textbox", "searchbox", "checkbox", "combobox", "image", "img"})


def speaks_to_screen_readers(visitor: Visitor) -> None:
    """One heading for the page and no level left out, landmarks, and a name for whatever can be used."""
    visitor.cdp("Accessibility.enable")
    nodes = [node for node in visitor.cdp("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    roles = Counter(_value(node, "role") for node in nodes)
    assert [roles[landmark] for landmark in ("main", "banner", "contentinfo")] == [1, 1, 1], roles
    levels: list[int] = visitor.ask("levels()")
    assert levels[:1] == [1], levels
    assert levels.count(1) == 1, levels
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    assert [node for node in nodes if _value(node, "role") in _USED and not _value(node, "name")] == []
    assert visitor.ask("idsUsedTwice()") == []
    assert visitor.has("html[lang=en]")
    assert visitor.driver.title.endswith("· restbroker")


def has_contrast(visitor: Visitor) -> None:
    """Each text stands out from its ground, in the light and in the dark."""
    for scheme in ("light", "dark"):
        visitor.prefer(scheme)
        found: list[tuple[float, str]] = visitor.ask("contrasts()")
        assert len(found) > 5, found
        assert [text for ratio, text in found if ratio < LEAST_CONTRAST] == [], scheme


def fits(visitor: Visitor) -> None:
    """Nobody has to move the page sideways."""
    for width in WIDTHS:
        visitor.resize(width)
        visitor.until(partial(_is_wide, visitor, width), f"the window is {width} pixels wide")
        assert visitor.ask("tooWide()") <= 0, width


def breaks_no_words(visitor: Visitor) -> None:
    """In tables each word stands in one line, on a desk at least, unless it is longer than any name should be."""
    visitor.resize(WIDTHS[-1])
    visitor.until(partial(_is_wide, visitor, WIDTHS[-1]), "the window is wide")
    assert visitor.ask(f"brokenWords({LONGEST_WORD})") == []


def goes_by_keyboard(visitor: Visitor) -> None:
    """Tab leads past the navigation, and to whatever can be used, and one sees where it is."""
    wanted = set(visitor.ask("stops()"))
    visited = visitor.tab_through()
    assert visited[0][0].startswith("a Skip to the content")
    assert wanted - {name for name, _ in visited} == set()
    assert [name for name, is_plain in visited if not is_plain] == []


def _is_wide(visitor: Visitor, width: int) -> bool:
    return bool(visitor.ask("window.innerWidth") == width)


def _value(node: dict[str, Any], name: str) -> str:
    return str(node.get(name, {}).get("value", ""))
