"""`dead retry --wait` and `edit --retry --wait`: what a running broker made of the jobs that a person sent again."""

import json
import time
from typing import Any

import pytest

from restbroker.store.sets import size
from tests.support import process
from tests.support.scripted import Citizen, jid_of, job


def park(citizen: Citizen, *users: str) -> None:
    for number, user in enumerate(users):
        failed: dict[str, Any] = {"error_class": "ServerError", "error_message": "It was down.", "retry_count": 2}
        raw = job(user, failed_at=time.time() - 9, **failed)
        citizen.client.command("ZADD", "dead", time.time() - 900 + number, raw)


def command(citizen: Citizen, *words: str) -> tuple[int, str, str]:
    done = process.run([*words, "--config", str(citizen.config)], directory=citizen.directory)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("keys", [{"History": "1h"}, {}], ids=["with a history", "without"])
def test_a_retry_that_waits_tells_how_many_were_done_and_what_the_others_failed_of(
    citizen: Citizen, keys: dict[str, str]
) -> None:
    citizen.configure(**keys)
    citizen.start()
    park(citizen, "anna", "refused1", "bert", "refused2", "hangs")
    words = ["dead", "retry", "--all", "--yes", "--wait", "--config", str(citizen.config)]
    with process.started(words, directory=citizen.directory) as running:
        running.wait_for("5 jobs retried")
        citizen.wait_until_in("dead", 2)
        citizen.wait_until_sent(5)
        citizen.script.released.set()
        assert running.wait() == 7
        told = running.output()
    assert "3 jobs done, 2 failed again." in told
    assert "2 jobs: Refused: 400 The server says: 0" in told
    assert "(restbroker dead list --group " in told
    assert ("count as done because they are gone" in told) == (not keys)


def test_what_is_still_on_its_way_when_the_time_is_up_is_told_as_such(citizen: Citizen) -> None:
    citizen.start()
    park(citizen, "hangs", "anna")
    code, out, told = command(citizen, "dead", "retry", "--all", "--yes", "--wait", "--timeout", "2s", "--json")
    assert code == 6
    assert "1 job done, 1 on their way." in told
    assert "restbroker explain" in told
    became = json.loads(out)["became"]
    assert (became["jobs"], became["in_progress"] + became["waiting"], became["unknown"]) == (2, 1, 0)


def test_what_another_program_took_is_told_as_such_and_not_as_done(citizen: Citizen) -> None:
    citizen.client.command(
        "ZADD", "dead", 1, json.dumps({"class": "Mailer", "jid": "m1", "queue": "mailers", "args": []})
    )
    words = ["dead", "retry", "--all", "--foreign-queues", "--yes", "--wait", "--config", str(citizen.config)]
    with process.started(words, directory=citizen.directory) as running:
        running.wait_for("1 job retried")
        citizen.client.command("RPOP", "queue:mailers")
        assert running.wait() == 7
        told = running.output()
    assert "0 jobs done, 1 taken by another program." in told
    assert "does not know what became of" in told


def test_an_edit_that_waits_ends_well_when_all_are_done(citizen: Citizen) -> None:
    citizen.start()
    park(citizen, "refused1", "refused2")
    words = ("dead", "edit", "--all", "user=anna", "--retry", "--yes", "--wait")
    code, _, told = command(citizen, *words)
    assert (code, size(citizen.client, "dead")) == (0, 0)
    assert "2 jobs done." in told
    assert [arrival.arguments["user"] for arrival in citizen.server.arrivals] == ["anna", "anna"]


def test_a_time_that_is_none_and_a_wait_for_jobs_that_stay_change_nothing(citizen: Citizen) -> None:
    park(citizen, "anna")
    rows: dict[tuple[str, ...], str] = {
        ("dead", "retry", jid_of("anna"), "--wait", "--timeout", "soon"): "--timeout takes",
        ("dead", "edit", jid_of("anna"), "user=bert", "--yes", "--wait"): "Add --retry.",
    }
    for words, why in rows.items():
        code, _, told = command(citizen, *words)
        assert (code, size(citizen.client, "dead")) == (2, 1), words
        assert why in told
