"""A job that was given up: found by a filter, understood from its page, sent again, and seen delivered."""

import pytest

from restbroker.operate import audit
from tests.support.wait import until
from tests.web.browser.conftest import with_and_without_scripts
from tests.web.browser.stage import Stage
from tests.web.browser.visitor import Visitor

pytestmark = with_and_without_scripts


@pytest.fixture(autouse=True)
def _a_server_that_fails(stage: Stage) -> None:
    stage.citizen.script.mended.clear()


def test_a_dead_job_is_found_understood_replayed_and_seen_delivered(
    stage: Stage, visitor: Visitor, has_scripts: bool
) -> None:
    user = f"refused-{has_scripts:d}"
    stage.wait_until_in("dead", stage.push("refused-other"))
    jid = stage.push(user)
    stage.wait_until_in("dead", jid)

    visitor.open("/")
    visitor.follow("Dead")
    visitor.fill("Condition 1", f"user = {user}")
    visitor.press("Search")
    visitor.sees("Shown: 1 of")
    assert jid in visitor.row("BadArgument")

    visitor.follow(jid)
    story = visitor.sees("First failure")
    assert "Argument 'host' is not in format binary" in story
    assert "Correct the arguments: their names, their types, and what is missing." in story
    assert f'"user": "{user}"' in story
    assert "rejected" in visitor.row("400")
    page = visitor.path

    stage.citizen.script.mended.set()
    visitor.press("Retry")
    visitor.sees("This would retry 1 job.")
    assert stage.citizen.times_sent()[user] == 1
    visitor.fill("Why", "the host is there now")
    visitor.press("Retry")
    visitor.sees("1 sent.")
    stage.wait_until_sent(user, 2)

    visitor.open(page)
    visitor.sees("This job is not in the dead set.")
    until(lambda: jid in stage.ended(), "it has ended")
    visitor.open(f"/job?jid={jid}")
    assert "the host is there now" in visitor.sees("What people did with it")
    assert "It has ended." in visitor.text()
    assert "200" in visitor.row("delivered")
    visitor.open(f"/dead?where=user+%3D+{user}")
    visitor.sees("No job matches.")
    assert jid not in stage.jids("dead")
    note = next(one.note for one in audit.entries(stage.citizen.client, 20) if one.note.state == "begun")
    assert (note.action, note.why, note.who) == ("retry", "the host is there now", "web@127.0.0.1 (web)")
