"""Pausing, resuming, quieting and stopping: asked first, seen on the page by everybody, and obeyed by the broker."""

import pytest
from selenium.webdriver.common.keys import Keys

from tests.support.scripted import CONCURRENCY, QUEUE
from tests.web.browser.conftest import with_and_without_scripts
from tests.web.browser.stage import TARGET, Stage
from tests.web.browser.visitor import Visitor


@with_and_without_scripts
@pytest.mark.parametrize(("kind", "name"), [("queue", QUEUE), ("target", TARGET)])
def test_a_pause_says_who_made_it_why_and_for_how_long_and_holds_until_it_is_ended(
    kind: str, name: str, stage: Stage, visitor: Visitor, has_scripts: bool
) -> None:
    user = f"{kind}{has_scripts:d}"
    visitor.open(f"/{kind}s")
    visitor.follow(f"Pause {kind} {name}")
    assert "They wait; jobs in progress finish." in visitor.sees("No process takes jobs")
    visitor.fill("For how long", "2h")
    visitor.fill("Why", "the server is moved")
    visitor.press(f"Pause the {kind}")
    row = visitor.learns(lambda: visitor.row("the server is moved"), "the reason is on the page")
    assert "paused" in row
    assert "by web@127.0.0.1 (web)" in row
    assert "h more" in row

    stage.push(user)
    visitor.open("/")
    visitor.learns(lambda: visitor.total("Waiting") == 1, "the job waits")
    assert stage.citizen.times_sent()[user] == 0

    visitor.open(f"/{kind}s")
    visitor.follow(f"Resume {kind} {name}")
    visitor.press(f"Resume the {kind}")
    stage.wait_until_sent(user)
    visitor.learns(lambda: "the server is moved" not in visitor.text(), "nothing is paused any more")


def test_a_queue_is_paused_and_resumed_by_keyboard_alone(stage: Stage, visitor: Visitor) -> None:
    visitor.open("/queues")
    visitor.tab_to(f"Pause queue {QUEUE}")
    visitor.strike(Keys.ENTER)
    visitor.sees("No process takes jobs")
    visitor.tab_to("Why")
    visitor.strike("without a mouse")
    visitor.tab_to("button Pause the queue")
    visitor.strike(Keys.ENTER)
    visitor.learns(lambda: visitor.row("without a mouse"), "the reason is on the page")
    visitor.tab_to(f"Resume queue {QUEUE}")
    visitor.strike(Keys.ENTER)
    visitor.sees("Every process takes its jobs again")
    visitor.tab_to("button Resume the queue")
    visitor.strike(Keys.ENTER)
    visitor.learns(lambda: "without a mouse" not in visitor.text(), "nothing is paused any more")
    assert stage.citizen.client.command("SMEMBERS", "paused") == []


def test_a_process_is_told_to_be_quiet_and_then_to_stop(stage: Stage, visitor: Visitor) -> None:
    citizen = stage.citizen
    another = citizen.start()
    process = citizen.identity(another)
    named = process.rpartition(":")[0]
    visitor.open("/processes")
    visitor.learns(lambda: visitor.has(f'[aria-label="Quiet {process}"]'), "it is on the page")
    visitor.follow(f"Quiet {process}")
    visitor.sees("takes no more until it is restarted.")
    visitor.fill("Why", f"{process} is quieted")
    visitor.press("Quiet the process")
    citizen.wait_until_recorded(process, "quiet", "true")
    assert f"0 of {CONCURRENCY}" in visitor.learns(lambda: quiet_row(visitor, named), "the page says that it is quiet")

    visitor.follow(f"Stop {process}")
    visitor.sees("and exits.")
    visitor.fill("Why", f"{process} is updated")
    visitor.press("Stop the process")
    assert another.wait() == 0
    visitor.learns(lambda: visitor.row(named) == "", "it is gone from the page")
    visitor.open("/audit")
    assert "stop" in visitor.row(f"{process} is updated")
    assert "quiet" in visitor.row(f"{process} is quieted")


def quiet_row(visitor: Visitor, named: str) -> str:
    row = visitor.row(named)
    return row if "quiet" in row.rpartition("|")[0] else ""
