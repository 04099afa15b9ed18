"""Jobs that a person edited: what a server gets of them, and what becomes of them."""

from restbroker.job.json_types import Json
from tests.broker.conftest import Harness, lost


async def test_server_gets_same_key_each_try_and_another_after_edit(
    harness: Harness,
) -> None:
    harness.target.answers.append(lost)
    harness.push("safe")
    async with harness.broker():
        await harness.until(lambda: harness.size("retry") == 1, "it waits for its next try")
        for revision in range(3):
            harness.push("safe", restbroker_revision=revision)
        await harness.until_ended(4)
    names = sorted(call.identity for call in harness.target.calls)
    assert names == ["jid-safe-0", "jid-safe-0", "jid-safe-0-r1", "jid-safe-0-r2"]


async def test_a_revision_that_is_none_is_passed_over(harness: Harness) -> None:
    rows: list[Json] = [0, -1, "1", 1.5, None, []]
    for odd in rows:
        harness.push("safe", restbroker_revision=odd)
    await harness.serve(6)
    assert {call.identity for call in harness.target.calls} == {"jid-safe-0"}
