"""What each answer of mod_rest and of the modules beside it means for the job."""

import json
from collections.abc import Mapping
from typing import Any

from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Outcome
from restbroker.servers.prosody.catalogue import for_version
from restbroker.servers.prosody.outcomes import classify
from restbroker.servers.prosody.table import TABLE
from restbroker.transport.message import Response

SPECS = for_version(None).commands


def answer(
    status: int,
    body: Json | bytes = b"",
    command: str = "message",
    *,
    arguments: Mapping[str, Json] | None = None,
    headers: Mapping[str, str] | None = None,
    **call: Any,
) -> Outcome:
    """What this answer to a command means."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    given_ = {"to": "juliet@localhost"} if arguments is None else arguments
    response = Response(status, headers or {}, raw, 0.01)
    return classify(Call(Command(command, given_), **call), TABLE[command], SPECS[command], response, 1000.0)


def test_a_report_in_unknown_words_is_done_with_a_note_and_no_account_is_taken_for_a_heading() -> None:
    ways = [f"The following accounts were {way}:\na@h\n" for way in ("successfully deleted", "skipped")]
    odd = "The following accounts were successfully disconnected:\na@h/The following accounts could not be x:\n"
    unknown = "an unknown note: see the answer"
    notes = {"Gone: a@h": unknown, "".join(ways): unknown, "".join(reversed(ways)): unknown, odd: None}
    for text, noted in notes.items():
        node = f"http://jabber.org/protocol/admin#{'end-user-session' if text == odd else 'delete-user'}"
        stanza: Json = {"type": "result", "command": {"node": node, "note": {"type": "info", "text": text}}}
        outcome = answer(200, stanza, "iq")
        assert isinstance(outcome, Delivered), (text, noted)
        assert outcome.note == noted, text
