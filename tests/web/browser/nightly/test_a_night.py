"""A night in which 60 jobs have died of three causes: understood, mended and done, by pages and by the shell."""

import secrets
import time
from collections.abc import Iterator, Sequence

import pytest

from tests.support.process import run
from tests.support.wait import until
from tests.web.browser.stage import Stage
from tests.web.browser.visitor import Visitor

MISSPELT, FAILED, EXISTING = 40, 17, 3
"""Few enough for the first look of a page: one that needs several is loaded again before it has ended."""
MOST_CLICKS, MOST_COMMANDS = 11, 6


@pytest.fixture
def night(stage: Stage) -> Iterator[str]:
    """What the users of this test are called by."""
    name = f"n{secrets.token_hex(2)}"
    stage.citizen.client.command("DEL", "dead")
    causes = [
        ("BadArgument", "Argument 'host' is wrong."),
        ("ServerError", "internal_error"),
        ("AlreadyExists", "It is."),
    ]
    hosts, counts = ("exmaple.org", "example.org", "example.org"), (MISSPELT, FAILED, EXISTING)
    for letter, cause, host, count in zip("abc", causes, hosts, counts, strict=True):
        for number in range(count):
            reason = {"error_class": cause[0], "error_message": cause[1]}
            stage.lay("dead", f"{name}{letter}{number}", time.time() - 900 + number, arguments={"host": host}, **reason)
    yield name
    assert stage.jids("dead") == set()
    until(lambda: len(sent(stage, name)) == MISSPELT + FAILED, "all that can be done are done")
    assert set(sent(stage, name).values()) == {1}
    assert not [user for user in sent(stage, name) if user.startswith(f"{name}c")]


def sent(stage: Stage, name: str) -> dict[str, int]:
    return {user: times for user, times in stage.citizen.times_sent().items() if user.startswith(name)}


@pytest.mark.parametrize("has_scripts", [True, False], ids=["with scripts", "without"])
def test_a_night_is_mended_in_eleven_clicks(night: str, visitor: Visitor) -> None:
    visitor.open("/")
    visitor.follow("60")
    visitor.sees("2 of 3 causes account for 95 % of 60 jobs")
    assert "Correct the arguments" in visitor.row("BadArgument")
    visitor.follow("Edit 40 jobs of this cause")
    visitor.fill("host", "example.org")
    visitor.tick("Also retry them")
    visitor.press("Show the difference")
    visitor.sees("This would edit")
    assert "exmaple.org | example.org" in visitor.row("exmaple.org")
    visitor.press("Edit and retry 40 jobs")
    visitor.sees("40 jobs; ended")
    visitor.learns(lambda: visitor.total("Done") == MISSPELT, "the page of the action says that all are done")
    visitor.follow("All dead jobs")
    visitor.press("Retry 17")
    visitor.sees("This would retry")
    visitor.press("Retry 17 jobs")
    visitor.sees("17 jobs; ended")
    visitor.follow("All dead jobs")
    visitor.press("Delete 3")
    visitor.sees("This would delete")
    visitor.press("Delete 3 jobs")
    visitor.sees("3 jobs; ended")
    assert len(visitor.clicks) <= MOST_CLICKS


def test_a_night_is_mended_in_six_commands(night: str, stage: Stage) -> None:
    count = 0

    def shell(*words: str) -> Sequence[list[str]]:
        nonlocal count
        count += 1
        done = run(words, directory=stage.citizen.directory)
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    group = {row[5]: f"failure_group = {row[0]}" for row in shell("dead", "summary")}
    shell("dead", "edit", "--where", group["BadArgument"], "host=example.org", "--retry", "--yes", "--wait")
    shell("dead", "retry", "--where", group["ServerError"], "--yes", "--wait")
    shell("dead", "delete", "--where", group["AlreadyExists"], "--yes")
    shell("stats")
    assert count <= MOST_COMMANDS
