"""Processes, restbroker's and Ruby's, and targets over all of them, as an operator sees and controls them."""

import json

import attrs
import pytest

from restbroker.cli import processes as cli
from restbroker.errors import RestbrokerError
from restbroker.job.hiding import spellings_of
from restbroker.job.json_types import Json
from restbroker.operate import audit, control, processes
from restbroker.operate.system import read_targets
from restbroker.store import heartbeats, limits, queues
from restbroker.store.client import Client
from restbroker.store.jobs import FetchRequest
from tests.operate.pools import record, serve
from tests.support.store_calls import fetch


def test_a_process_is_shown_with_its_targets_and_its_jobs(client: Client) -> None:
    serve(client, "t", 7, ["rest"])
    queues.push(client, "rest", [b"1", b"2", b"3"])
    fetch(client, FetchRequest("node:7:abc:t", "t", ("rest",), 0, 3, 0))
    payload: Json = {"class": "Add", "display_class": "register", "jid": "j1", "args": ["register", {}, "***"]}
    work: dict[str, Json] = {"b": {"queue": "rest", "payload": json.dumps(payload), "run_at": 1_700_000_100}}
    work |= {"a": {"queue": "rest", "payload": json.dumps({"class": "Add", "args": ["***"]}), "run_at": 1_700_000_050}}
    record(client, "node:7:xyz", work, version="restbroker 0.1", tag="restbroker", queues=["rest"])
    (one,) = processes.processes(client, spellings_of(["t0ken"]))
    assert (one.name, one.host, one.pid, one.tag) == ("node:7:xyz", "node", 7, "restbroker")
    (program,) = (column.text for column in cli._COLUMNS if column.title == "PROGRAM" and column.text)  # noqa: SLF001 - the table itself
    assert (program(one), program(attrs.evolve(one, version="6.4.1"))) == ("restbroker 0.1", "6.4.1 restbroker")
    assert (one.is_restbroker, one.has_record, one.targets, one.queues) == (True, True, ("t",), ("rest",))
    assert (one.in_progress, one.concurrency, one.rss_kib, one.rtt_us, one.quiet) == (3, 5, 4096, 90, False)
    assert one.started_at_s == 1_700_000_000.5
    assert one.heartbeat_age_s is not None
    assert one.heartbeat_age_s < 5
    assert [(job.thread, job.queue, job.name, job.job.jid, job.job.at_s) for job in one.jobs] == [
        ("a", "rest", "Add", None, 1_700_000_050),
        ("b", "rest", "register", "j1", 1_700_000_100),
    ]
    assert processes.processes(client, with_jobs=False)[0].jobs == ()


def test_rubys_processes_are_shown_without_their_arguments(client: Client) -> None:
    old: Json = {"class": "Mailer", "jid": "j1", "args": ["a-private-word", "t0ken"]}
    new = {"class": "Wrapper", "wrapped": "MailJob", "jid": "t0ken", "args": ["a-private-word"]}
    work: dict[str, Json] = {"a": {"queue": "q", "payload": old, "run_at": 1_700_000_000}}
    work |= {"b": {"queue": "q", "payload": json.dumps(new), "run_at": 1_700_000_001_000}}
    work |= {"c": {"queue": "q"}, "d": {"queue": "q", "payload": "{x", "run_at": "now"}, "e": {}}
    record(client, "web:9:ab", work, version="7.3.2", queues=["q", "q"])
    (one,) = processes.processes(client, spellings_of(["t0ken"]))
    assert (one.is_restbroker, one.version, one.in_progress, one.queues) == (False, "7.3.2", 5, ("q",))
    assert [(job.name, job.job.command, job.job.at_s) for job in one.jobs] == [
        ("Mailer", None, 1_700_000_000),
        ("MailJob", None, 1_700_000_001),
    ]
    assert "a-private-word" not in repr(one.jobs)
    assert "t0ken" not in repr(one.jobs)


def test_process_without_record_is_shown_and_cannot_be_asked(client: Client) -> None:
    serve(client, "t", 7, ["rest"])
    (one,) = processes.processes(client)
    assert (one.name, one.host, one.pid, one.has_record, one.targets) == ("node:7", "node", 7, False, ("t",))
    with pytest.raises(RestbrokerError, match="no process node:7"):
        processes.order(client, "node:7", "stop", "ann")
    assert client.command("KEYS", "*-signals") == []


def test_requests_go_the_way_of_sidekiqs_own_api(client: Client) -> None:
    record(client, "web:9:ab")
    processes.order(client, "web:9:ab", "quiet", "ann")
    processes.order(client, "web:9:ab", "stop", "ann")
    assert client.command("LRANGE", "ns:web:9:ab-signals", 0, -1) == [b"TERM", b"TSTP"]
    assert client.command("TTL", "ns:web:9:ab-signals") == 60


def test_a_job_in_progress_is_cancelled_by_its_thread(client: Client) -> None:
    payload = json.dumps({"class": "Add", "jid": "j1", "args": ["register", {}, "***"]})
    job: Json = {"queue": "rest", "payload": payload, "run_at": 1_700_000_000}
    record(client, "node:7:ab", {"0a1b": job, "other": job}, version="restbroker 1.0")
    processes.cancel(client, "node:7:ab", "0a1b", "ann")
    assert client.command("LRANGE", "ns:node:7:ab-signals", 0, -1) == [b"CANCEL 0a1b"]
    (written,) = audit.entries(client, 5)
    assert (written.note.who, written.note.action, written.note.place) == ("ann", "cancel", "process:node:7:ab")
    assert written.note.jids == ("j1",)
    with pytest.raises(RestbrokerError, match="no process"):
        processes.cancel(client, "node:8:ab", "0a1b", "ann")


def test_a_target_is_the_sum_and_the_worst_of_its_processes(client: Client) -> None:
    bounds: Json = {"concurrency": 20, "now": 20, "rate_per_s": 50.0, "burst": 5, "in_flight": 100}
    serve(client, "t", 7, ["rest"], limits=bounds, outcomes={"delivered": 100, "rejected": 1})
    refused: dict[str, Json] = {"gate": "denied", "gate_reason": "401", "gate_cure": "Mend RestPass."}
    refused |= {"closed_for_s": 4.5, "p50_ms": 50.0, "p99_ms": None, "limited": "rate", "outcomes": {"delivered": 7}}
    serve(client, "t", 8, ["rest", "slow"], **refused)
    (one,) = read_targets(client)
    assert (one.name, one.kind, one.state, one.down_in) == ("t", "ejabberd", "denied", 1)
    assert (one.reason, one.hint, one.down_for_s) == ("401", "Mend RestPass.", 4.5)
    assert (one.concurrency, one.limit, one.busy, one.ahead, one.rate_per_s) == (40, 40, 6, 8, 20.0)
    assert (one.rate_limit_per_s, one.max_in_flight, one.limited) == (50.0, 100, ("rate",))
    assert (one.p50_ms, one.p95_ms, one.p99_ms) == (50.0, None, 9.0)
    assert (one.delivered, one.failed, one.outcomes) == (200, 2, {"delivered": 107, "rejected": 1})
    assert (one.versions, one.queues, one.processes) == (("24.12",), ("rest", "slow"), ("node:7", "node:8"))
    assert len(one.per_process) == 2


def test_finishing_or_dead_process_counts_only_its_jobs(client: Client) -> None:
    serve(client, "t", 7, ["rest"])
    serve(client, "t", 8, ["rest"], gate="closed", finishing=True)
    serve(client, "t", 9, ["rest"], gate="closed")
    queues.push(client, "rest", [b"1", b"2"])
    fetch(client, FetchRequest("node:9:abc:t", "t", ("rest",), 0, 2, 0))
    assert heartbeats.fence(client, "node:9:abc:t", 1)
    (one,) = read_targets(client)
    assert (one.state, one.down_in, one.concurrency, one.delivered) == ("up", 0, 20, 100)
    assert (one.busy, one.in_progress, one.processes) == (6, 2, ("node:7", "node:8"))


def test_resuming_ends_pauses_of_everyone(client: Client) -> None:
    serve(client, "t", 7, ["rest"])
    control.pause(client, "target", "t", "ann", "")
    limits.pause(client, "t", "retry_after", 600.0)
    assert control.resume(client, "target", "t", "bob", "it is back") is True
    assert control.resume(client, "target", "t", "bob") is False
    (one,) = read_targets(client)
    assert one.pauses == ()
    limits.pause(client, "t", "retry_after", 600.0)
    assert control.resume(client, "target", "t", "bob") is True
    assert [entry.note.why for entry in audit.entries(client, 3)] == ["", "", "it is back"]
