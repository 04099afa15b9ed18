"""What a visitor sees of a server-rendered page: its text, links, tables, and the forms that it offers.

Used by tests/support/sidekiq_web.py. Always holds: text comes without markup and with references resolved, so what was
put into a page unescaped shows as missing text and as elements in `scripts`.
"""

from collections.abc import Mapping, Sequence
from html.parser import HTMLParser

import attrs


@attrs.define
class Form:
    """A form: `hidden` fields, `boxes` (name, value) to check, `buttons` (name, value) to press."""

    action: str
    method: str
    hidden: dict[str, str] = attrs.field(factory=dict)
    boxes: list[tuple[str, str]] = attrs.field(factory=list)
    buttons: list[tuple[str, str]] = attrs.field(factory=list)

    def filled(self, button: str, check: Sequence[str]) -> dict[str, str | list[str]]:
        values = dict(self.buttons)
        assert button in values, f"{self.action or 'the form'} has no button {button!r}, but {sorted(values)}"
        names = {value: name for name, value in self.boxes}
        assert set(check) <= names.keys(), f"{set(check) - names.keys()} are none of its boxes: {sorted(names)}"
        checked: dict[str, list[str]] = {}
        for value in check:
            checked.setdefault(names[value], []).append(value)
        return {**self.hidden, **checked, button: values[button]}


@attrs.define
class Page:
    """A page. `rows` are all tables' rows with data cells, each cell as its text, `last` those of the last table;
    `headed` are the same behind their own headings; `scripts` are the scripts' contents.
    """

    url: str
    html: str
    text: str = ""
    links: list[str] = attrs.field(factory=list)
    rows: list[list[str]] = attrs.field(factory=list)
    last: list[list[str]] = attrs.field(factory=list)
    headed: list[list[str]] = attrs.field(factory=list)
    forms: list[Form] = attrs.field(factory=list)
    scripts: list[str] = attrs.field(factory=list)

    def form(self, action: str = "", **hidden: str) -> Form:
        """The one form with this action and these values of hidden fields that has a button."""
        found = [
            form
            for form in self.forms
            if form.action == action and form.buttons and hidden.items() <= form.hidden.items()
        ]
        assert len(found) == 1, f"{self.url} has {len(found)} forms for {action!r} {hidden}: {self.forms}"
        return found[0]

    def links_to(self, prefix: str) -> list[str]:
        """The addresses that begin with `prefix`, each once, in the order of the page."""
        return list(dict.fromkeys(link for link in self.links if link.startswith(prefix)))

    def row(self, word: str) -> list[str]:
        """The one row that has `word` in one of its cells, with its own heading in front if it has one."""
        found = [row for row in self.headed if any(word in cell for cell in row)]
        assert len(found) == 1, f"{self.url} shows {word!r} in {len(found)} rows:\n{self.text}"
        return found[0]


def parse(url: str, html: str) -> Page:
    reader = _Reader(Page(url, html))
    reader.feed(html)
    reader.close()
    reader.page.text = " ".join("".join(reader.words).split())
    return reader.page


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__(convert_charrefs=True)
        self.page = page
        self.words: list[str] = []
        self._form: Form | None = None
        self._row: list[str] | None = None
        self._heading: str | None = None
        self._skipping: str | None = None

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.words.append(" ")
        match tag:
            case "script" | "style":
                self._skipping = tag
                self.page.scripts += [given["src"]] if "src" in given else []
            case "a" if "href" in given:
                self.page.links.append(given["href"])
            case "form":
                self._form = Form(given.get("action", ""), given.get("method", "get").upper())
                self.page.forms.append(self._form)
            case "input" | "button" if self._form is not None:
                _add(self._form, tag, given)
            case "table":
                self.page.last = []
            case "tr":
                self._row = []
            case "td" if self._row is not None:
                self._row.append("")
            case "th" if self._row == []:
                self._heading = ""
            case _:
                pass

    def handle_endtag(self, tag: str) -> None:
        self.words.append(" ")
        match tag:
            case "form":
                self._form = None
            case "tr":
                if self._row:
                    row = [" ".join(cell.split()) for cell in self._row]
                    self.page.rows.append(row)
                    self.page.last.append(row)
                    self.page.headed.append(row if self._heading is None else [" ".join(self._heading.split()), *row])
                self._row = self._heading = None
            case _ if tag == self._skipping:
                self._skipping = None
            case _:
                pass

    def handle_data(self, data: str) -> None:
        if self._skipping:
            self.page.scripts += [data] if data.strip() else []
            return
        self.words.append(data)
        if self._row:
            self._row[-1] += data
        elif self._heading is not None:
            self._heading += data


def _add(form: Form, tag: str, given: Mapping[str, str]) -> None:
    name, value = given.get("name"), given.get("value", "")
    kind = given.get("type", "submit" if tag == "button" else "text")
    match kind:
        case _ if name is None:
            return
        case "checkbox":
            form.boxes.append((name, value))
        case "submit":
            form.buttons.append((name, value))
        case _:
            form.hidden[name] = value
