"""`restbroker explain` of a job that is nowhere: where it was looked for, and where it may be instead."""

import json

from restbroker.store import queues
from restbroker.store.client import Client
from tests.cli.conftest import Shell
from tests.operate.pools import serve


def job(jid: str) -> bytes:
    return json.dumps({"class": "Add", "jid": jid, "args": ["status", {}, "t"]}).encode()


def test_it_says_where_it_looked_and_through_how_many_jobs(shell: Shell, store: Client) -> None:
    queues.push(store, "rest", [job("a"), job("b")])
    store.command("ZADD", "ns:dead", 1, job("c"))
    serve(store, "ejabberd", 7, ["rest"])
    done = shell("explain", "lost")
    rows = dict(line.split("\t") for line in done.stdout.splitlines())
    assert done.returncode == 1
    assert rows["the dead set"] == "1"
    assert rows["in progress in 1 process"] == "0"
    assert rows["the retry set"] == rows["the schedule set"] == rows["copies of dead jobs"] == "0"
    assert rows["the queue rest"] == "2"
    assert "The job lost is in none of these places: it was delivered or deleted, it expired, " in done.stderr


def test_a_queue_that_nobody_serves_and_that_is_called_nearly_so_is_told(shell: Shell, store: Client) -> None:
    queues.push(store, "Rset", [job("a"), job("b")])
    queues.push(store, "mailers", [job("c")])
    done = shell("explain", "lost")
    assert "No process serves the queue Rset, and 2 jobs wait there. Did its producer mean rest?" in done.stderr
    assert "No process serves the queue mailers, and 1 job waits there.\n" in done.stderr
    assert "restbroker queues peek Rset" in done.stderr
