"""Calls of the store that a process makes on Trio's loop, made at once. For tests that act in a process' place."""

from collections.abc import Sequence

from restbroker.errors import StoreRefused
from restbroker.store.classifying import ClassifyAnswer, classify_call, read_classified
from restbroker.store.client import Client, Reply, ScriptCall, check_replies
from restbroker.store.codes import Code
from restbroker.store.in_progress import FetchedJob
from restbroker.store.jobs import (
    FetchAnswer,
    FetchRequest,
    FinishAndFetch,
    fetch_call,
    read_fetch,
)
from restbroker.store.redis import run_blocking
from restbroker.store.settling import FinishRequest, FinishSteps
from restbroker.store.waiter import read_plain, standing_call


def run_each(client: Client, calls: Sequence[ScriptCall]) -> list[Reply | StoreRefused]:
    """As `Connection` runs scripts."""
    return check_replies(run_blocking(client.steps_to_run(calls)))


def fetch(client: Client, request: FetchRequest) -> FetchAnswer:
    """As `Connection.fetch`."""
    return read_fetch(client.keys, request, run_each(client, [fetch_call(client.keys, request)])[0])


def stand(client: Client, request: FetchRequest) -> FetchAnswer:
    """As a `Waiter` whose wait has ended."""
    call = standing_call(client.keys, request)
    (reply,) = run_each(client, [call])
    if isinstance(reply, StoreRefused):
        raise reply
    return read_plain(request, reply) if call[0] == "stand" else read_fetch(client.keys, request, reply)


def finish(client: Client, request: FinishRequest, now_s: float) -> list[Code]:
    """The codes of `Connection.finish`."""
    return finish_and_take(client, request, now_s)[0]


def finish_alone(client: Client, request: FinishRequest, now_s: float) -> list[Code]:
    """As `Connection.send_finish` settles a plain job without a script."""
    settling = FinishSteps(client.keys, request, now_s)
    commands = settling.commands()
    assert commands is not None
    return settling.read_replies(client.commands(commands)[-1:])


def finish_and_take(client: Client, request: FinishRequest, now_s: float) -> tuple[list[Code], tuple[FetchedJob, ...]]:
    """As `Connection.finish`."""
    settling = FinishSteps(client.keys, request, now_s)
    codes = settling.read_replies(run_each(client, settling.calls) if settling.calls else [])
    return codes, settling.taken


def finish_and_fetch(
    client: Client, finished: FinishRequest, now_s: float, wanted: FetchRequest
) -> tuple[list[Code] | StoreRefused, FetchAnswer | StoreRefused]:
    """As `Connection.finish_and_fetch`."""
    both = FinishAndFetch(client.keys, finished, now_s, wanted)
    return both.answers(run_each(client, both.calls))


def classify_lines(client: Client, target: str, queue: str, groups: str) -> ClassifyAnswer:
    """As a broker has jobs of a queue moved into lines."""
    return read_classified(client.run(*classify_call(client.keys, target, queue, key_rules=groups, took_ms=0)))
