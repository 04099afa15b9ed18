"""Targets as an operator sees and steers them, over all processes."""

from restbroker.job.json_types import Json
from restbroker.operate import audit, targets
from restbroker.store import heartbeats, limits, queues
from restbroker.store.client import Client
from restbroker.store.jobs import FetchRequest, fetch
from tests.operate.pools import serve


def test_a_target_is_the_sum_of_its_processes_and_as_well_as_the_worst_of_them(client: Client) -> None:
    bounds: Json = {"concurrency": 20, "now": 20, "rate_per_s": 50.0, "burst": 5, "in_flight": 100}
    serve(client, "t", 7, ["rest"], limits=bounds, outcomes={"delivered": 100, "rejected": 1})
    refused: dict[str, Json] = {"gate": "denied", "gate_reason": "401", "gate_cure": "Mend RestPass."}
    refused |= {"closed_for_s": 4.5, "p50_ms": 50.0, "p99_ms": None, "limited": "rate", "outcomes": {"delivered": 7}}
    serve(client, "t", 8, ["rest", "slow"], **refused)
    (one,) = targets.targets(client)
    assert (one.name, one.kind, one.state, one.down_in) == ("t", "ejabberd", "denied", 1)
    assert (one.reason, one.hint, one.down_for_s) == ("401", "Mend RestPass.", 4.5)
    assert (one.concurrency, one.limit, one.busy, one.ahead, one.rate_per_s) == (40, 40, 6, 8, 20.0)
    assert (one.rate_limit_per_s, one.max_in_flight, one.limited) == (50.0, 100, ("rate",))
    assert (one.p50_ms, one.p95_ms, one.p99_ms) == (50.0, None, 9.0)
    assert (one.delivered, one.failed, one.outcomes) == (200, 2, {"delivered": 107, "rejected": 1})
    assert (one.versions, one.queues, one.processes) == (("24.12",), ("rest", "slow"), ("node:7", "node:8"))
    assert len(one.per_process) == 2


def test_a_process_that_only_finishes_or_died_tells_nothing_of_the_target_but_its_jobs_count(client: Client) -> None:
    serve(client, "t", 7, ["rest"])
    serve(client, "t", 8, ["rest"], gate="closed", finishing=True)
    serve(client, "t", 9, ["rest"], gate="closed")
    queues.push(client, "rest", [b"1", b"2"])
    fetch(client, FetchRequest("node:9:abc:t", "t", ("rest",), 0, 2, 0))
    assert heartbeats.fence(client, "node:9:abc:t", 1)
    (one,) = targets.targets(client)
    assert (one.state, one.down_in, one.concurrency, one.delivered) == ("up", 0, 20, 100)
    assert (one.busy, one.in_progress, one.processes) == (6, 2, ("node:7", "node:8"))


def test_resuming_ends_every_pause_whoever_made_it(client: Client) -> None:
    serve(client, "t", 7, ["rest"])
    targets.pause(client, "t", "ann", "")
    limits.pause(client, "t", "retry_after", 600.0)
    assert targets.resume(client, "t", "bob", "it is back") is True
    assert targets.resume(client, "t", "bob") is False
    (one,) = targets.targets(client)
    assert one.pauses == ()
    limits.pause(client, "t", "retry_after", 600.0)
    assert targets.resume(client, "t", "bob") is True
    assert [one.note.why for one in audit.entries(client, 3)] == ["", "", "it is back"]
