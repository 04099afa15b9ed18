"""What counts as the same transcript, and what is written where it is not."""

from pathlib import Path
from typing import Final

import pytest

from tests.docs.transcripts import Names, Recipe, difference, recipes, rewritten, same

OLD: Final = "5f0c8f2a9d3e4b7a6c1d2e3f"
NEW: Final = "a9d019002bf77c51d3e34ac2"
OTHER: Final = "0123456789abcdef01234567"
PAGE: Final = f"""# Page

Before.

```json title="env.json"
{{}}
```

## One

```console
$ push \\
> more
{OLD}
$ show {OLD}
done in 3 ms
```

Words about {OLD}.

## Two

```console
$ show {OLD}
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "page.md").write_text(PAGE)
    return tmp_path / "page.md"


@pytest.fixture
def one(page: Path) -> Recipe:
    return recipes(page)[0]


def test_a_recipe_is_a_section_with_its_files_and_what_is_typed(page: Path) -> None:
    one, two = recipes(page)
    assert [one.title, two.title] == ["One", "Two"]
    assert [(step.typed, step.printed) for step in one.steps] == [
        ("push \\\nmore", f"{OLD}\n"),
        (f"show {OLD}", "done in 3 ms\n"),
    ]
    assert one.files == two.files == {"env.json": "{}\n"}


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("done in 3 ms", "done in 1.25 s"),
        ("2026-11-20 08:56:16  register", "2030-01-02T03:04:05.678Z  register"),
        ("A   B  \n1    2", "A  B\n1  2"),
        ("by host:12:0123456789ab", "by host:4711:ba9876543210"),
        (f"{OLD} {OLD}", f"{NEW} {NEW}"),
    ],
)
def test_what_no_two_runs_have_in_common_counts_as_the_same(shown: str, printed: str) -> None:
    assert same(shown, printed, Names())


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("3 jobs", "4 jobs"),
        ("done", "done\nand more"),
        ("done\nand more", "done"),
        (f"{OLD} {OLD}", f"{NEW} {OTHER}"),
        ("exit 7", "exit 1"),
    ],
)
def test_everything_else_does_not(shown: str, printed: str) -> None:
    assert not same(shown, printed, Names())


def test_a_job_that_was_shown_before_must_be_the_same_again() -> None:
    names = Names()
    names.learn(OLD, NEW)
    assert names.typed(f"show {OLD}") == f"show {NEW}"
    assert same(f"{OLD} waits", f"{NEW} waits", names)
    assert not same(f"{OLD} waits", f"{OTHER} waits", names)


def test_a_difference_is_shown_as_a_diff_of_what_was_typed_and_printed(one: Recipe) -> None:
    names = Names()
    names.learn(OLD, NEW)
    assert not difference(one, [f"{NEW}\n", "done in 5 s\n"], names)
    told = difference(one, [f"{NEW}\n", "parked\n"], names)
    assert "-done in SPAN" in told
    assert "+parked" in told
    assert f" $ show {OLD}" in told


def test_only_what_changed_is_written_and_an_id_that_changed_also_where_it_is_typed(one: Recipe) -> None:
    same_again = rewritten(PAGE, one, [f"{OLD}\n", "done in 5 s\n"], Names())
    assert same_again == PAGE
    changed = rewritten(PAGE, one, [f"{NEW}\nsaid more\n", "parked\n"], Names())
    first, second = PAGE.split("## Two")
    wanted = first.replace(OLD, NEW).replace(f"{NEW}\n$", f"{NEW}\nsaid more\n$").replace("done in 3 ms", "parked")
    assert changed == f"{wanted}## Two{second}"
