"""`restbroker enqueue` where the jobs of one key are done one after the other, or take turns."""

import json
from pathlib import Path

import pytest

from restbroker.job.order import Order
from restbroker.store.client import Client
from restbroker.store.jobs import FetchRequest, fetch, register
from tests.cli.conftest import Shell, configure, jobs_in
from tests.store.pools import FACTS


def test_who_waits_for_an_answer_reads_what_holds_the_job(shell: Shell, store: Client, place: Path) -> None:
    configure(place, OrderBy="order_key")
    first = shell("enqueue", "status", "--order-key", "bob").stdout.strip()
    identity, text = "web1:7:abc:ejabberd", Order().text
    assert register(store, identity, FACTS, ["rest"], fairness=text)
    fetch(store, FetchRequest(identity, "ejabberd", ("rest",), 0, 50, 50, fairness=text))
    # Others of the key do not hold it up.
    for key, held in (("bob", True), ("alice", False)):
        done = shell("enqueue", "status", "--order-key", key, "--wait", "--timeout", "100ms")
        said = f"It is held behind {first} (status) of the key bob, which web1:7 has in progress.\n"
        assert (done.returncode, said in done.stderr) == (6, held)


@pytest.mark.parametrize(("kind", "by"), [("order", "OrderBy"), ("fair", "FairBy")])
def test_rows_of_a_file_have_keys_of_their_own(shell: Shell, store: Client, place: Path, kind: str, by: str) -> None:
    configure(place, **{by: f"{kind}_key"})
    (place / "rows.csv").write_text(f"user,host,_{kind}_key\na,h,k1\nb,h,\nc,h,k2\n")
    done = shell("enqueue", "check_account", "--bulk", "rows.csv", f"--{kind}-key", "rest")
    assert (done.returncode, "has no effect" in done.stderr) == (0, False), done.stderr
    assert [job[f"{kind}_key"] for job in jobs_in(store, "queue:rest")] == ["k1", "rest", "k2"]
    keys = (5, "k" * 257, "a\0b", "a\nb", ["k"], None, "k" * 256)
    rows = [json.dumps({"user": "d", "host": "h", f"_{kind}_key": key}) + "\n" for key in keys]
    (place / "rows.ndjson").write_text("".join(rows))
    done = shell("enqueue", "check_account", "--bulk", "rows.ndjson")
    assert (done.returncode, done.stderr.count(f"{kind}_key takes a string of 1 to 256 bytes")) == (7, 5)
    assert [job.get(f"{kind}_key") for job in jobs_in(store, "queue:rest")[3:]] == [None, "k" * 256]


def test_a_fair_key_where_no_jobs_take_turns_is_noted(shell: Shell) -> None:
    vain = shell("enqueue", "check_account", "--bulk", "none.csv", "--fair-key", "rest")
    assert "note: --fair-key has no effect" in vain.stderr


def test_rows_are_pushed_in_order_or_not_at_all(shell: Shell, store: Client, place: Path) -> None:
    """Without `OrderBy` they would be done side by side, which their order key says must not be."""
    (place / "rows.csv").write_text("user,host\na,h\n")
    (place / "keys.csv").write_text("user,host,_order_key\na,h,k\n")
    (place / "rows.ndjson").write_text('{"command":"kick_user","user":"a","host":"h","_order_key":"k"}\n')
    for words in (
        ["kick_user", "--bulk", "rows.csv", "--order-key", "k"],
        ["kick_user", "--bulk", "keys.csv"],
        ["-", "--bulk", "rows.ndjson", "--order-key", "k"],
    ):
        done = shell("enqueue", *words)
        assert (done.returncode, jobs_in(store, "queue:rest")) == (2, [])
        assert 'there is no "OrderBy": "order_key" in ejabberd.' in done.stderr
    done = shell("enqueue", "-", "--bulk", "rows.ndjson")
    assert (done.returncode, jobs_in(store, "queue:rest")) == (1, [])
    assert 'line 1: there is no "OrderBy": "order_key" in ejabberd.' in done.stderr
