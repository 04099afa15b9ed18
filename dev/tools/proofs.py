"""The page of what is promised and which tests prove it, from the marks at the tests; `make docs` writes it.

A mark is `@pytest.mark.promise("No command is lost", "Redis is full")`: heading and promise, as texts. Tests are read,
not imported. The page names no test, so that it changes only with what is proved.
"""

import ast
from collections.abc import Iterator
from typing import Final, TypeGuard

from dev.tools.pages import ROOT

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

At least one test proves each of these promises of [guarantees](../guarantees.md), [security](../../SECURITY.md),
[Sidekiq](../sidekiq.md) and [producers](../producers.md); `grep -r "Redis is full" tests` finds those of one.
*Night*: only `make nightly` runs them. [What no test shows](../guarantees.md#what-no-test-shows).
"""


def proofs() -> Iterator[tuple[str, str, bool, str]]:
    """Of each mark the heading, the promise, whether only the night runs it, and file::name.

    Raise ValueError, with file and test, for a mark that is not above a function, or without a known heading.
    """
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text("utf-8")
        if "mark.promise(" not in text:
            continue
        tree = ast.parse(text)
        body, left = tree.body, sum(map(_is_promise, ast.walk(tree)))
        marks = (
            node.value for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
        )
        at_night = "nightly" in path.parts or any("mark.nightly" in ast.unparse(mark) for mark in marks)
        for test in body:
            if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef):
                said = [ast.unparse(mark) for mark in test.decorator_list]
                alone = at_night or "pytest.mark.nightly" in said
                for mark in test.decorator_list:
                    if _is_promise(mark):
                        left -= 1
                        name = f"{path.relative_to(ROOT)}::{test.name}"
                        yield *_texts(mark, name), alone, name
        if left:
            raise ValueError(
                f"{path.relative_to(ROOT)}: a promise's mark stands above a function of the module, only there"
            )


def _is_promise(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.promise"


def _texts(mark: ast.Call, name: str) -> tuple[str, str]:
    texts = [word.value for word in mark.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    if len(texts) != 2 or texts[0] not in HEADINGS:
        raise ValueError(f"{name}: a promise has one of the headings in dev/tools/proofs.py, and a text, not {texts}")
    return texts[0], texts[1]


def page() -> str:
    """Return the page as the tests' marks make it; raise ValueError for a wrong mark, or a heading without a proof."""
    promises: dict[str, dict[str, list[bool]]] = {}
    for heading, promise, at_night, _ in proofs():
        promises.setdefault(heading, {}).setdefault(promise, []).append(at_night)
    if wrong := {*HEADINGS} - {*promises}:
        raise ValueError(f"headings of dev/tools/proofs.py without a test: {sorted(wrong)}")
    parts = [HEAD]
    for heading in HEADINGS:
        rows = sorted(promises[heading].items(), key=lambda row: row[0].casefold())
        parts += [f"\n## {heading}\n\n"]
        parts += [f"- {promise}{' (night)' if all(nights) else ''}\n" for promise, nights in rows]
    return "".join(parts)


if __name__ == "__main__":
    (ROOT / PAGE).write_text(page(), encoding="utf-8")
