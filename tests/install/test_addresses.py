"""What a package index shows of the project: README, whose links lead into the repository once that has an address."""

import re

from dev.tools.pages import ROOT
from hatch_build import Addresses

HOME = "https://git.example.org/chat/restbroker"
README = (ROOT / "README.md").read_text()


def metadata(home: str) -> dict[str, object]:
    found: dict[str, object] = {"version": "1.2"}
    Addresses(str(ROOT), {"home": home}).update(found)
    return found


def text(found: dict[str, object]) -> str:
    match found["readme"]:
        case {"content-type": "text/markdown", "text": str(shown)}:
            return shown
    raise AssertionError(found)


def test_links_lead_to_the_files_of_the_version() -> None:
    found = metadata(HOME)
    links = set(re.findall(r"\]\((.*?)\)", text(found)))
    assert {f"{HOME}/blob/v1.2/docs/install.md", f"{HOME}/raw/v1.2/docs/images/web-overview-light.png"} <= links
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert text(found).replace(f"{HOME}/blob/v1.2/", "").replace(f"{HOME}/raw/v1.2/", "") == README
    assert found["urls"] == {
        "Homepage": HOME,
        "Issues": f"{HOME}/issues",
        "Documentation": f"{HOME}/blob/v1.2/README.md",
        "Changelog": f"{HOME}/blob/v1.2/CHANGELOG.md",
    }


def test_without_an_address_readme_stays_as_it_is() -> None:
    found = metadata("")
    assert (text(found), found["urls"]) == (README, {})
