"""Transcripts of terminals in Markdown: taken out of a page, compared with what was printed, and rewritten.

For test_recipes.py, which types them (and writes, with RECIPES=write). A recipe is a section of a page that has
blocks marked `console`: lines that begin with `$ ` are typed, `> ` continues one, what follows is what was printed. A
block with a `title` is a file that the reader has, or, if that is an address, a message that somebody then reads there.
Always holds: what is compared is all that was printed; only what no two runs have in common counts as equal, and is
listed in `CHANGES`.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

JID: Final = re.compile(r"\b[0-9a-f]{24}\b")
CHANGES: Final[Sequence[tuple[str, re.Pattern[str]]]] = (
    ("TIME", re.compile(r"\b(?:\d{4}-\d\d-\d\d[ T])?\d\d:\d\d:\d\d(?:\.\d+)?Z?")),
    ("SPAN", re.compile(r"\b\d+(?:\.\d+)? ?(?:ms|µs|s|min)\b")),
    ("PROCESS", re.compile(r"\bhost:\d+(?::[0-9a-f]{12})?\b")),
    ("RATE jobs/s", re.compile(r"\b\d+\.\d jobs/s")),
    ("TOKEN", re.compile(r"^\w{32}$", re.MULTILINE)),
    ("pid=PID", re.compile(r"\bpid=\d+")),
    ("  ", re.compile(r" {2,}|\t")),
)
"""What differs from one run to the next. So do job ids, but the same one must come again where it is shown again."""

_OBJECTS: Final = re.compile(r'(?:\[\{".*\}\]|\{".*\})')
_BLOCK: Final = re.compile(r'^```(\w+)(?: title="([\w./@-]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_SECTION: Final = re.compile(r"(?:\A#|^##{1,2}) (.*)$", re.MULTILINE)


@attrs.frozen
class Step:
    """What is typed, and what is printed then. `at`: where the output stands in the page's text."""

    typed: str
    printed: str
    at: slice


@attrs.frozen
class Recipe:
    """One section: its files by name, what is typed, in order, and what is `read` then, in order, at each address.

    `at`: where it stands in the page's text.
    """

    page: Path
    title: str
    at: slice
    files: Mapping[str, str]
    steps: Sequence[Step]
    read: Mapping[str, Sequence[str]]

    def without(self, text: str) -> "Recipe":
        """The same for readers whom the page tells to leave this text out wherever it stands."""
        files = {name: whole.replace(text, "") for name, whole in self.files.items()}
        steps = [attrs.evolve(step, typed=step.typed.replace(text, "")) for step in self.steps]
        return attrs.evolve(self, files=files, steps=steps)


def recipes(page: Path) -> list[Recipe]:
    """The sections of the page that have something to type. A file that is in none of it is the first of that name."""
    text = page.read_text("utf-8")
    heads = list(_SECTION.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    shared = _files(reversed(list(_BLOCK.finditer(text))))
    found = []
    for head, end in zip(heads, ends, strict=True):
        blocks = list(_BLOCK.finditer(text, head.start(), end))
        steps = [step for block in blocks if block[1] == "console" for step in _steps(block)]
        if steps:
            files = {**shared, **_files(blocks)}
            found.append(Recipe(page, head[1], slice(head.start(), end), files, steps, _read(blocks)))
    return found


def _files(blocks: Iterable[re.Match[str]]) -> dict[str, str]:
    return {block[2]: block[3] for block in blocks if block[2] and "@" not in block[2]}


def _read(blocks: Iterable[re.Match[str]]) -> dict[str, list[str]]:
    read: dict[str, list[str]] = {}
    for block in blocks:
        if "@" in (block[2] or ""):
            read.setdefault(block[2], []).append(block[3].rstrip("\n"))
    return read


def _steps(block: re.Match[str]) -> Iterable[Step]:
    """Each command of a block with its output."""
    place = block.start(3)
    for piece in re.finditer(r"^\$ (.*\n(?:> .*\n)*)((?:(?!\$ ).*\n)*)", block[3], re.MULTILINE):
        typed = piece[1].replace("\n> ", "\n").rstrip("\n")
        yield Step(typed, piece[2], slice(place + piece.start(2), place + piece.end(2)))


@attrs.define
class Names:
    """Which id of the page stands for which job of this run, as far as both were seen at the same place."""

    ours: dict[str, str] = attrs.field(factory=dict)

    def learn(self, shown: str, printed: str) -> None:
        """Pairs the ids of two texts that say the same otherwise."""
        for theirs, ours in zip(JID.findall(shown), JID.findall(printed), strict=False):
            self.ours.setdefault(theirs, ours)

    def typed(self, text: str) -> str:
        """What to type in this run."""
        return JID.sub(lambda found: self.ours.get(found[0], found[0]), text)


def alike(text: str) -> str:
    """The text without what differs from one run to the next."""
    for word, pattern in CHANGES:
        text = pattern.sub(word, text)
    return "\n".join(_ordered(line.rstrip()) for line in text.splitlines())


def _ordered(line: str) -> str:
    """The line with a JSON object's members by name: their order differs from one version of a server to the next."""
    return json.dumps(json.loads(line), sort_keys=True) if _OBJECTS.fullmatch(line) else line


def same(shown: str, printed: str, names: Names) -> bool:
    """Whether both say the same, of the same jobs."""
    if JID.sub("JID", alike(shown)) != JID.sub("JID", alike(printed)):
        return False
    known = {theirs: ours for theirs, ours in names.ours.items() if theirs in shown}
    pairs = list(zip(JID.findall(shown), JID.findall(printed), strict=True))
    return all(known.setdefault(theirs, ours) == ours for theirs, ours in pairs)


def difference(recipe: Recipe, printed: Sequence[str], names: Names) -> str:
    """What the page shows beside what was printed, as a diff; empty where they say the same."""
    shown = [f"$ {step.typed}\n{alike(names.typed(step.printed))}" for step in recipe.steps]
    now = [f"$ {step.typed}\n{alike(text)}" for step, text in zip(recipe.steps, printed, strict=True)]
    lines = difflib.unified_diff(
        "\n".join(shown).splitlines(), "\n".join(now).splitlines(), "on the page", "printed", lineterm="", n=8
    )
    return "\n".join(lines)


def rewritten(text: str, recipe: Recipe, printed: Sequence[str], names: Names) -> str:
    """The page's text with what was printed where it shows something else. Ids that changed do so in what is typed."""
    pieces, place, changed = list[str](), recipe.at.start, Names()
    for step, now in zip(recipe.steps, printed, strict=True):
        pieces.append(text[place : step.at.start])
        if same(step.printed, now, names):
            pieces.append(text[step.at])
        else:
            changed.learn(step.printed, now)
            pieces.append(now)
        place = step.at.stop
    section = "".join([*pieces, text[place : recipe.at.stop]])
    return text[: recipe.at.start] + changed.typed(section) + text[recipe.at.stop :]
