"""The page of what is promised and which tests prove it, from the marks at the tests; `make docs` writes it.

A mark is `@pytest.mark.promise("No command is lost", "Redis is full")`: heading and promise, as texts. Tests are read,
not imported. The page counts them and names their folders, so that it changes only with what is proved where.
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

How many tests prove each promise of [guarantees](../guarantees.md), [security](../../SECURITY.md),
[Sidekiq](../sidekiq.md) and [producers](../producers.md), and in which folders of `tests`: `2+1` are two tests by day
and one at night. [What no test shows](../guarantees.md#what-no-test-shows). `make docs` makes this page from the
tests' marks.
"""


def proofs() -> Iterator[tuple[str, str, str, bool, str]]:
    """Of each mark the heading, the promise, the test's folder, whether only the night runs it, and file::name.

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
        folder = path.parent.relative_to(ROOT / "tests").as_posix().removesuffix("/nightly")
        for test in body:
            if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef):
                said = [ast.unparse(mark) for mark in test.decorator_list]
                alone = at_night or "pytest.mark.nightly" in said
                for mark in test.decorator_list:
                    if _is_promise(mark):
                        left -= 1
                        name = f"{path.relative_to(ROOT)}::{test.name}"
                        yield *_texts(mark, name), folder, alone, name
        if left:
            raise ValueError(
                f"{path.relative_to(ROOT)}: a promise's mark stands above a function of the module, only there"
            )


def _is_promise(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.promise"


def _texts(mark: ast.Call, name: str) -> tuple[str, str]:
    texts = [word.value for word in mark.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    if len(texts) != 2 or texts[0] not in HEADINGS:
        raise ValueError(f"{name}: a promise has one of the headings in tools/proofs.py, and a text, not {texts}")
    return texts[0], texts[1]


def page() -> str:
    """Return the page as the tests' marks make it; raise ValueError for a wrong mark, or a heading without a proof."""
    promises: dict[str, dict[str, list[tuple[str, bool]]]] = {}
    for heading, promise, folder, at_night, _ in proofs():
        promises.setdefault(heading, {}).setdefault(promise, []).append((folder, at_night))
    if wrong := {*HEADINGS} - {*promises}:
        raise ValueError(f"headings of tools/proofs.py without a test: {sorted(wrong)}")
    parts = [HEAD]
    for heading in HEADINGS:
        rows = sorted(promises[heading].items(), key=lambda row: row[0].casefold())
        parts += [f"\n## {heading}\n\n| promise | tests | in |\n|---|---|---|\n"]
        parts += [f"| {promise} | {_tests(tests)} |\n" for promise, tests in rows]
    return "".join(parts)


def _tests(tests: list[tuple[str, bool]]) -> str:
    nightly = sum(at_night for _, at_night in tests)
    night = f"+{nightly}" if nightly else ""
    return f"{len(tests) - nightly}{night} | {', '.join(sorted({folder for folder, _ in tests}))}"


if __name__ == "__main__":
    (ROOT / PAGE).write_text(page(), encoding="utf-8")
