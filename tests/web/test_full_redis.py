"""The pages of a Redis that is full: what makes room there works, as it does on the command line."""

import pytest

from restbroker.operate import audit
from tests.broker.conftest import Harness
from tests.web.conftest import Open
from tests.web.test_sets import form_of, page, park, send
from tests.web.test_waiting import QUEUE, ask, push, waits


@pytest.mark.parametrize("what", ["dead", "queue", "clear"])
async def test_jobs_can_be_deleted_where_redis_is_full(harness: Harness, site: Open, what: str) -> None:
    park(harness, 3)
    push(harness, waits("a"), waits("b"), waits("c"))
    async with site() as running:
        harness.client.command("CONFIG", "SET", "maxmemory", "1")
        try:
            if what == "dead":
                asked = await send(running, "/dead/act", {"verb": "delete", "all": "yes"})
                await send(running, "/dead/act", form_of(asked.text, "/dead/act").hidden)
            elif what == "queue":
                await ask(running, await page(running, QUEUE), "delete", None)
            else:
                question = await page(running, "/steer?do=clear-queue&name=rest")
                await send(running, "/steer", form_of(question.html, "/steer").hidden)
        finally:
            harness.client.command("CONFIG", "SET", "maxmemory", "0")
    assert harness.size("dead" if what == "dead" else "queue:rest") == 0
    notes = [one.note for one in audit.entries(harness.client, 5)]
    assert ([note.state for note in (notes[-1], notes[0])], notes[0].done) == (["begun", "ended"], 3)
