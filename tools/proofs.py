"""The page of what is promised and which tests prove it, from the marks at the tests; `make reference` writes it.

A mark is `@pytest.mark.promise("No command is lost", "Redis is full")`: heading and promise, as texts. Tests are read,
not imported. The page counts them and names their folders, so that it changes only with what is proved where.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from typing import Final

from tools.pages import ROOT

PAGE: Final = "docs/appendix/proofs.md"
HEADINGS: Final = (
    "No command is lost",
    "A power loss of Redis",
    "At least once, and seldom more",
    "One key after the other",
    "Periodic commands",
    "Events",
    "Back soon",
    "A good citizen",
    "Producers: jobs",
    "Producers: answers",
    "Security: who can push to the queues",
    "Security: who can read Redis",
    "Security: who can write to Redis beyond the queues",
    "Security: who can reach the ports",
    "Security: who controls a server's answers",
    "Security: who controls DNS, or the network between",
    "Security: who has an account on the host, or controls the configuration",
    "Security: who can open Sidekiq Web",
    "Sidekiq: what is seen, and rights",
    "Sidekiq: the process record",
    "Sidekiq: remote control",
    "Sidekiq: counters and metrics",
    "Sidekiq: queues",
    "Sidekiq: scheduled jobs",
    "Sidekiq: retries",
    "Sidekiq: dead jobs",
    "Sidekiq: odd payloads",
    "Sidekiq: web pages and API",
    "Sidekiq: one Redis with Ruby workers",
    "Sidekiq: other versions",
    "Defects of the Go original",
)
"""In the order of the page. Each has a promise that a test proves, or the page cannot be made."""
HEAD: Final = """\
# What is promised, and what proves it

How many tests prove each promise of [guarantees](../guarantees.md), [security](security.md), [Sidekiq](sidekiq.md) and
[producers](../producers.md), and in which folders of `tests`. [What no test shows](../guarantees.md#what-no-test-shows)
is said there, and [testing](../testing.md) says what runs when. `make reference` makes this page from the tests' marks.
"""


def proofs() -> Iterator[tuple[str, str, str, bool, str]]:
    """Of each mark the heading, the promise, the test's folder, whether only the night runs it, and file::name."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text("utf-8")
        if "mark.promise(" not in text:
            continue
        body = ast.parse(text).body
        marks = (
            node.value for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
        )
        at_night = "nightly" in path.parts or any("mark.nightly" in ast.unparse(mark) for mark in marks)
        folder = path.parent.relative_to(ROOT / "tests").as_posix().removesuffix("/nightly")
        for test in body:
            if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef):
                said = [ast.unparse(mark) for mark in test.decorator_list]
                alone = at_night or "pytest.mark.nightly" in said
                for mark in test.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.promise":
                        heading, promise = (ast.literal_eval(word) for word in mark.args)
                        yield heading, promise, folder, alone, f"{path.relative_to(ROOT)}::{test.name}"


def page() -> str:
    """Return the page as the tests' marks make it; raise ValueError if a heading is unknown, or has no proof."""
    promises: dict[str, dict[str, tuple[Counter[str], Counter[str]]]] = {}
    for heading, promise, folder, at_night, _ in proofs():
        promises.setdefault(heading, {}).setdefault(promise, (Counter(), Counter()))[at_night][folder] += 1
    if wrong := {*promises} ^ {*HEADINGS}:
        raise ValueError(
            f"headings of tools/proofs.py without a test, or of tests without a line there: {sorted(wrong)}"
        )
    parts = [HEAD]
    for heading in HEADINGS:
        rows = sorted(promises[heading].items(), key=lambda row: row[0].casefold())
        parts += [f"\n## {heading}\n\n| promise | tests by day | at night |\n|---|---|---|\n"]
        parts += [f"| {promise} | {_cell(day)} | {_cell(night)} |\n" for promise, (day, night) in rows]
    return "".join(parts)


def _cell(folders: Counter[str]) -> str:
    return ", ".join(f"{count} {folder}" for folder, count in sorted(folders.items()))


if __name__ == "__main__":
    (ROOT / PAGE).write_text(page(), encoding="utf-8")
