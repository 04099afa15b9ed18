"""What is done with several jobs at once: asked first, with what it would do, and done with those that were meant."""

import time

from tests.web.browser.conftest import with_and_without_scripts
from tests.web.browser.stage import Stage
from tests.web.browser.visitor import Visitor

FAR_S = 1_000_000


def find(visitor: Visitor, name: str, condition: str) -> None:
    """Opens a set's page and searches it."""
    visitor.open(f"/{name}")
    visitor.fill("Condition 1", condition)
    visitor.press("Search")
    visitor.sees("Shown: ")


def test_all_that_match_are_retried_and_a_look_before_changes_nothing(stage: Stage, visitor: Visitor) -> None:
    users = [f"again{number}" for number in range(3)]
    other = stage.lay("retry", "other", time.time() + FAR_S)
    for user in users:
        stage.lay("retry", user, time.time() + FAR_S)

    find(visitor, "retries", "user = again*")
    assert len(visitor.rows()) == 3
    visitor.tick("all that match")
    visitor.press("Retry")
    visitor.sees("This would retry 3 jobs.")
    visitor.follow("Do nothing")
    visitor.sees("Shown: 3 of")
    assert not set(users) & set(stage.citizen.times_sent())

    visitor.tick("all that match")
    visitor.press("Retry")
    visitor.sees("This would retry 3 jobs.")
    visitor.press("Retry")
    visitor.sees("3 sent.")
    for user in users:
        stage.wait_until_sent(user)
    assert other in stage.jids("retry")


@with_and_without_scripts
def test_what_is_held_back_by_a_rate_goes_on_by_itself_where_scripts_run(stage: Stage, visitor: Visitor) -> None:
    users = [f"slow{visitor.has_scripts}{number}" for number in range(7)]
    for user in users:
        stage.lay("retry", user, time.time() + FAR_S)
    find(visitor, "retries", f"user = slow{visitor.has_scripts}*")
    visitor.tick("all that match")
    visitor.press("Retry")
    visitor.fill("At most this many jobs per second", "2")
    visitor.press("Retry")
    assert ("This continues" in visitor.sees("6 sent so far")) == visitor.has_scripts
    if not visitor.has_scripts:
        visitor.press("Continue with the rest")
    visitor.sees("7 sent.")
    visitor.follow("What happens to them")
    visitor.learns(lambda: visitor.total("Done") == len(users), "all are done")


def test_only_what_is_ticked_is_deleted(stage: Stage, visitor: Visitor) -> None:
    due_s = time.time() + FAR_S
    jids = [stage.lay("schedule", f"ticked{number}", due_s + number) for number in range(3)]
    find(visitor, "scheduled", "user = ticked*")
    visitor.tick(f"Choose {jids[0]}")
    visitor.tick(f"Choose {jids[2]}")
    visitor.press("Delete")
    assert "They are deleted; there is no copy." in visitor.sees("This would delete 2 jobs.")
    visitor.press("Delete")
    visitor.sees("2 done.")
    assert set(jids) & stage.jids("schedule") == {jids[1]}


def test_a_job_is_moved_to_a_queue_that_nobody_serves_only_where_a_box_is_ticked(
    stage: Stage, visitor: Visitor
) -> None:
    jid = stage.lay("schedule", "moves", time.time() + FAR_S)
    find(visitor, "scheduled", f"jid = {jid}")
    visitor.tick(f"Choose {jid}")
    visitor.press("Move")
    visitor.fill("To the queue", "ruby")
    visitor.press("Move")
    visitor.sees("No target of this configuration serves that queue.")
    visitor.tick("Also to a queue that this configuration does not serve")
    visitor.press("Move")
    visitor.sees("1 done.")
    (moved,) = [member for member in stage.citizen.members("schedule") if member["jid"] == jid]
    assert moved["queue"] == "ruby"
