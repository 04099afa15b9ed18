# ruff: noqa: SLF001 - faults are seeded into what nobody else may touch
"""The fast path against the general one: whatever jobs and servers do, both leave the same behind.

Each history is run twice, on an empty Redis and a server that answers each job as the job's own mood says. Equal must
be: each request's bytes and how often it came, what lies in Redis, every event of a job and the counters.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import pytest

from restbroker.broker.exchange import Exchange, PlainEndpoint
from restbroker.broker.fast_path import FastPath
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered
from restbroker.servers.api.login import Headers
from restbroker.servers.contract import Plan
from restbroker.servers.ejabberd.connector import EjabberdConnector
from restbroker.transport.answer import KnownHeads, Rest
from restbroker.transport.idle import PartialExchange
from restbroker.transport.lean import LeanClient
from restbroker.transport.message import Request, Response, Sender
from tests.support.paths import Paths, jobs_of

JOBS: Final = int(os.environ.get("FAST_PATH_JOBS", "2000"))
"""How many jobs of a history: more with `make fuzz`."""
FEW_JOBS: Final = 400
LEAST_SHARE: Final = 0.5
"""Of the jobs of a history that the fast path settles: many of its answers are odd on purpose."""
_LOST: Final = 5
SEED: Final = int(os.environ.get("FAST_PATH_SEED", "0"))


@pytest.mark.promise("No command is lost", "jobs take the fast path")
def test_both_paths_leave_the_same_behind(paths: Paths, tell: Callable[[str], None]) -> None:
    share: list[float] = []
    jobs = jobs_of(SEED, JOBS)
    fast, general = paths.run(jobs, fast=True, share=share), paths.run(jobs, fast=False, share=share)
    tell(f"fast path: {share[0]:.1%} of {JOBS} jobs, seed {SEED}")
    assert fast.differences(general) == []
    assert share[0] > LEAST_SHARE
    assert share[1] == 0


def _part_counts_as_whole(patch: pytest.MonkeyPatch) -> None:
    read = KnownHeads.read

    def hasty(heads: KnownHeads, data: bytes) -> object:
        found = read(heads, data)
        return (200, b"0") if found is Rest.MISSING and b"\r\n\r\n" in data else found

    patch.setattr(KnownHeads, "read", hasty)


def _an_end_counts_as_an_answer(patch: pytest.MonkeyPatch) -> None:
    receive = Exchange.receive

    def eager(exchange: Any, got: bytes | Exception) -> None:
        if got == b"":
            exchange.path.finish(exchange, Delivered("0", 0, 200))
        else:
            receive(exchange, got)

    patch.setattr(Exchange, "receive", eager)


def _outcomes_are_kept_by_status(patch: pytest.MonkeyPatch) -> None:
    outcome, kept = PlainEndpoint.outcome, dict[int, object]()

    def careless(endpoint: Any, status: int, body: bytes) -> object:
        found = outcome(endpoint, status, body)
        return found and kept.setdefault(status, found)

    patch.setattr(PlainEndpoint, "outcome", careless)


def _what_has_begun_is_sent_again(patch: pytest.MonkeyPatch) -> None:
    start_task = FastPath._start_task

    def again(path: FastPath, exchange: Any, partial: PartialExchange | None) -> bool:
        if partial is not None:
            path.client.take_back(partial.connection, 0.0, fit=False)
        return start_task(path, exchange, None)

    patch.setattr(FastPath, "_start_task", again)


def _what_came_is_lost_on_the_way(patch: pytest.MonkeyPatch) -> None:
    start_task, lost = FastPath._start_task, 0

    def lose(path: FastPath, exchange: Any, partial: PartialExchange | None) -> bool:
        nonlocal lost
        # Of a few only: each waits for its time-out, and nothing is sent for long where many do.
        if partial is not None and partial.received and lost < _LOST:
            lost, partial = lost + 1, attrs.evolve(partial, received=b"")
        return start_task(path, exchange, partial)

    patch.setattr(FastPath, "_start_task", lose)


def _in_plans(change: Callable[[Plan], Plan]) -> Callable[[pytest.MonkeyPatch], None]:
    def seed(patch: pytest.MonkeyPatch) -> None:
        plan = EjabberdConnector._plan

        def other(connector: EjabberdConnector, endpoint: str, headers: Headers) -> Plan | None:
            found = plan(connector, endpoint, headers)
            return found and change(found)

        patch.setattr(EjabberdConnector, "_plan", other)

    return seed


def _every_answer_is_a_success(plan: Plan) -> Plan:
    return attrs.evolve(plan, outcome=lambda status, body: Delivered(body.decode(), json.loads(body), status))


def _no_default_host(plan: Plan) -> Plan:
    return attrs.evolve(plan, body=lambda arguments: json.dumps(arguments, separators=(",", ":")).encode())


def _messages_with_ids_are_plain(plan: Plan) -> Plan:
    def body(arguments: Mapping[str, Json]) -> bytes | None:
        return plan.body({name: arguments[name] for name in arguments if name != "id"})

    return attrs.evolve(plan, body=body)


def _the_general_path_adds_no_host(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("restbroker.servers.ejabberd.request._arguments", lambda call, _names: call.command.arguments)


def _the_general_path_answers_too_soon(patch: pytest.MonkeyPatch) -> None:
    resume = LeanClient.resume

    async def too_soon(
        client: LeanClient, partial: PartialExchange, request: Request, sender: Sender | None = None
    ) -> Response:
        response = await resume(client, partial, request, sender)
        return attrs.evolve(response, body=response.body[:-1])

    patch.setattr(LeanClient, "resume", too_soon)


_FAULTS: Final = {
    "a part counts as whole": _part_counts_as_whole,
    "an end counts as an answer": _an_end_counts_as_an_answer,
    "outcomes are kept by status": _outcomes_are_kept_by_status,
    "what has begun is sent again": _what_has_begun_is_sent_again,
    "what came is lost on the way": _what_came_is_lost_on_the_way,
    "every answer is a success": _in_plans(_every_answer_is_a_success),
    "no default host": _in_plans(_no_default_host),
    "messages with ids are plain": _in_plans(_messages_with_ids_are_plain),
    "the general path adds no host": _the_general_path_adds_no_host,
    "the general path answers too soon": _the_general_path_answers_too_soon,
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_the_comparison_finds_a_fault_of_either_path(fault: str, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = jobs_of(1, FEW_JOBS, trouble=0.15)
    _FAULTS[fault](monkeypatch)
    assert paths.run(jobs, fast=True).differences(paths.run(jobs, fast=False))
