"""What MkDocs does with the pages of the repository: a hook, named by mkdocs.yml, for `make docs` and tests/docs.

The site has the repository's own folders, so that a link between two pages leads to the same place on a forge, in a
clone and on the site, and no page is copied. Always holds: a file that a page links to or shows is on the site; a link
to a folder is plain text; nothing outside of the repository is read.
"""

import re
import tomllib
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from dev.tools.pages import PAGES, ROOT, anchor

_UNSEARCHED: Final = ("docs/appendix/", "CHANGELOG.md")
"""Pages that the search leaves out: a reader who asks how to do something would find why it is so."""
_BOOSTS: Final = {
    "CONTRIBUTING.md": 0.1,
    "docs/architecture.md": 0.1,
    "docs/design.md": 0.1,
    "docs/write-a-server-kind.md": 0.1,
    "docs/testing.md": 0.1,
    "docs/keys.md": 0.1,
    "examples/": 0.3,
}
"""How the search weighs pages, by the start of their names: pages about our code last."""

_ASKED: Final = tomllib.loads((Path(__file__).parent / "asked.toml").read_text("utf-8"))
"""Words that people ask with, by the page that answers."""

_LOGO: Final = ROOT / "restbroker" / "web" / "static" / "icon.svg"
_STYLE: Final = _LOGO.with_name("style.css")
_COLOURS_END: Final = "/* Text */"
"""In the style of the web pages, what follows their colours."""

_CALLOUT: Final = re.compile(r"^> \[!([A-Z]+)\]\n((?:>.*\n)+)", re.MULTILINE)
_KINDS: Final = {"IMPORTANT": "info", "CAUTION": "danger"}
"""What the site's theme calls a forge's kinds of notes."""

_LINK: Final = re.compile(r"(?<!`)\[((?:[^\]\[]|!?\[[^\]]*\](?:\([^)]*\))?)*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")
_IMAGE: Final = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
_ITEM: Final = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+")
_PARSER: Final = MarkdownIt("commonmark").enable("table")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Has headings get the anchors that forges give them."""
    config.mdx_configs["toc"]["slugify"] = lambda heading, _separator: anchor(heading)
    return config


def on_files(files: Files, /, *, config: MkDocsConfig) -> Files:
    """The repository's pages, what they link to and the logo, instead of what MkDocs found; and the theme's files."""
    own = [file for file in files if Path(file.src_dir or "") != ROOT / "docs"]
    beside = sorted({_LOGO, *(file for page in PAGES for file in _named(page))} - set(PAGES))
    found = [_file(path, config) for path in [*PAGES, *beside]]
    return Files([*own, *found, File.generated(config, "site.css", content=style())])


def style() -> str:
    """Return what mkdocs.yml names as site.css: the colours of the web pages, and what the site uses them for."""
    colours, end, _ = _STYLE.read_text("utf-8").partition(_COLOURS_END)
    assert end, f"{_STYLE} has its colours before {_COLOURS_END}"  # noqa: S101 - a build fails, nobody else calls it
    return colours + (Path(__file__).parent / "site.css").read_text("utf-8")


def _named(page: Path) -> set[Path]:
    """The files of the repository that a page shows or links to."""
    text = page.read_text("utf-8")
    names = [name for _, name, _ in _LINK.findall(text)] + _IMAGE.findall(text)
    found = {(page.parent / name).resolve() for name in names}
    return {path for path in found if path.is_file() and path.is_relative_to(ROOT)}


def _file(path: Path, config: MkDocsConfig) -> File:
    return File(str(path.relative_to(ROOT)), str(ROOT), config.site_dir, config.use_directory_urls)


def on_page_markdown(markdown: str, /, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page as Python-Markdown reads it: links to folders, and lists."""
    del config, files
    if page.file.src_uri.startswith(_UNSEARCHED):
        page.meta["search"] = {"exclude": True}
    page.meta["tags"] = _ASKED.get(page.file.src_uri, "").split()
    for start, boost in _BOOSTS.items():
        if page.file.src_uri.startswith(start):
            page.meta["search"] = {"boost": boost}
    return reindented(admonitions(folders(markdown, ROOT / Path(page.file.src_uri).parent)))


def admonitions(markdown: str) -> str:
    """The text with notes, tips and warnings as the site wants them (`!!! note`); forges write `> [!NOTE]`."""
    return _CALLOUT.sub(_admonition, markdown)


def _admonition(callout: re.Match[str]) -> str:
    body = re.sub("^> ?", "    ", callout[2], flags=re.MULTILINE)
    return f"!!! {_KINDS.get(callout[1], callout[1].lower())}\n\n{body}"


def folders(markdown: str, place: Path) -> str:
    """The text of a page in `place`, with the text alone of each link to a folder."""
    return _LINK.sub(lambda link: link[1] if (place / link[2]).resolve().is_dir() else link[0], markdown)


def reindented(markdown: str) -> str:
    """The text with what belongs to an item of a list indented by four.

    Forges follow CommonMark, where as many blanks do as the item's mark is wide, and a list may follow its sentence
    without an empty line.
    """
    lines = markdown.split("\n")
    written = list(lines)
    before = set[int]()
    columns = list[int]()
    for token in _PARSER.parse(markdown):
        if token.type in {"bullet_list_open", "ordered_list_open"} and token.map:
            before.add(token.map[0])
        elif token.type == "list_item_open" and token.map:
            first, end = token.map
            outer = columns[-1] if columns else 0
            mark = _ITEM.match(lines[first], outer)
            columns.append(mark.end() if mark else outer)
            written[first] = "    " * (len(columns) - 1) + lines[first][outer:].lstrip()
            for number in range(first + 1, end):
                written[number] = ("    " * len(columns) + _without(lines[number], columns[-1])).rstrip()
        elif token.type == "list_item_close":
            columns.pop()
    return "\n".join(f"\n{line}" if number in before else line for number, line in enumerate(written))


def _without(line: str, columns: int) -> str:
    """The line without the blanks that its item of a list asks for; one that was lazily begun further left has less."""
    return line[columns:] if not line[:columns].strip() else line.lstrip()
