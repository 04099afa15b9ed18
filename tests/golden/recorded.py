"""What restbroker makes of what real servers were recorded to answer, by `python -m tests.record`.

The steps of a recorded file are done again, by the same connectors, beside a player of the file. Always holds: each
request is the recorded one, in the recorded order, or there is no text.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePath
from typing import Any, Final

import trio

from restbroker.job.outcome import Deferred, Delivered, Denied, Probe, Rejected, Uncertain, Unsent
from tests.golden import fates, probes
from tests.record import ejabberd, prosody
from tests.record.steps import Entries, Result, Step, Steps, run
from tests.support.player import FOLDER, Player, recorded

_ENTRIES: Final = {"ejabberd": ejabberd.entry, "prosody": prosody.entry}
_FEW: Final = 3
FILES: Final = tuple(
    sorted(
        str(file.relative_to(FOLDER).with_suffix(""))
        for server in _ENTRIES
        for file in FOLDER.glob(f"{server}/*/*.json")
    )
)
"""What is recorded of them, as `ejabberd/23.01/rooms`."""


def text(name: str) -> str:
    """Return of each step of this file what was done, what the server answered, and what came of it."""
    written = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))["exchanges"]
    exchanges, steps = (
        recorded(name),
        Steps([Step(**request["step"]) for request in written if "step" in request], _entry(name)),
    )
    answers, lines = _answers(written), list[str]()

    def each(step: Step, result: Result) -> None:
        lines.extend([_request_line(step), f"  {next(answers)} → {_words(result)}"])

    with Player(exchanges) as server:
        trio.run(partial(run, steps, server.url, each))
    assert len(server.requests) == len(exchanges), f"{name}: not as many requests as were recorded"
    wrong = [
        request for request, exchange in zip(server.requests, exchanges, strict=True) if not exchange.fits(request)
    ]
    assert wrong == [], f"{name}: not in the recorded order"
    return "\n".join([*lines, ""])


def _entry(name: str) -> Entries:
    return _ENTRIES[PurePath(name).parts[0]]


def _answers(exchanges: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield of each step the status, and those of questions after it."""
    statuses: list[list[str]] = []
    for exchange in exchanges:
        if "step" in exchange:
            statuses.append([])
        statuses[-1].append(str(exchange["response"]["status"]))
    for first, *others in statuses:
        more = f"{len(others)} more" if len(others) > _FEW else ", ".join(others)
        yield f"{first} ({more})" if others else first


def _request_line(step: Step) -> str:
    how = ["may have run"] * step.maybe_run + ["ok if it exists"] * step.ok_if_exists
    arguments = json.dumps(step.arguments, ensure_ascii=False) if step.arguments else ""
    words = f"{step.command or step.does} {arguments}".rstrip()
    return ", ".join([f"{step.login}: {words}", *how])


def _words(result: Result) -> str:
    match result:
        case Probe():
            return probes.written(result)
        case Delivered():
            return fates.facts(result)
        case Rejected() | Deferred() | Uncertain() | Unsent() | Denied():
            return f"{fates.facts(result)} | {result.reason.hint}"
        case findings:
            return ", ".join(f"{finding.level} {finding.code}" for finding in findings)
