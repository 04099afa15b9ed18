"""What each answer of mod_rest and of the modules beside it means for the job."""

import json
from collections.abc import Mapping
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Outcome, Rejected
from restbroker.servers.prosody.catalogue import for_version
from restbroker.servers.prosody.outcomes import classify
from restbroker.servers.prosody.table import TABLE
from restbroker.transport.message import Response

SPECS = for_version(None).commands
# As mod_http_errors of 0.12.3 writes it (measured).
PAGE = """<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body{{margin-top:14%;text-align:center}}
</style>
</head>
<body>
<h1> {title}</h1>
<p>You&apos;re not allowed to do that.</p>

<p class="extra">{extra}</p>
</body>
</html>
"""


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


def error(kind: str | None, condition: str | None, text: str | None = None) -> Json:
    """The stanza of an XMPP error, as mod_rest writes it."""
    members = {"type": kind, "condition": condition, "text": text}
    told = {name: value for name, value in members.items() if value is not None}
    return {"kind": "message", "type": "error", "from": "juliet@localhost", "id": "1", "error": told}


def page(title: str, extra: str) -> bytes:
    return PAGE.format(title=title, extra=extra).encode()


def reason_of(outcome: Outcome) -> Any:
    assert not isinstance(outcome, Delivered)
    return outcome.reason


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


def test_prosodys_pages_are_read_for_what_they_say() -> None:
    refused = reason_of(answer(403, page("403 Forbidden", "Credentials not accepted")))
    assert (refused.code, refused.message) == ("LoginRefused", "Status 403: Credentials not accepted")
    bare = PAGE.replace('<p class="extra">{extra}</p>', "").format(title="404 Not Found").encode()
    assert reason_of(answer(404, bare)).message == "Status 404: Not Found"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "error", "condition", "text", "xmpp", "command", "note"]), inner)
    ),
    max_leaves=12,
)
_TYPES = st.sampled_from(["wait", "cancel", "modify", "auth", "continue", "error", ""])
_ERRORS = st.fixed_dictionaries(
    {"type": st.just("error"), "error": st.fixed_dictionaries({"type": _TYPES | _JSON, "condition": _JSON})}
)


@given(
    st.integers(100, 699),
    st.binary(max_size=60) | _JSON.map(lambda one: json.dumps(one).encode()),
    st.sampled_from(sorted(TABLE)),
)
def test_every_answer_has_an_outcome(status: int, body: bytes, command: str) -> None:
    outcome = answer(status, body, command)
    assert isinstance(outcome, get_args(Outcome))
    assert isinstance(outcome, Delivered) <= (200 <= status < 300)


@given(_ERRORS, st.sampled_from(["message", "presence", "iq", "ping"]))
def test_no_error_within_a_200_counts_as_done_but_a_warning(stanza: dict[str, Any], command: str) -> None:
    outcome = answer(200, stanza, command)
    match stanza["error"]["type"]:
        case "wait":
            assert isinstance(outcome, Deferred)
        case "cancel" | "modify" | "auth":
            assert isinstance(outcome, Rejected)
        case "continue":
            assert isinstance(outcome, Delivered)
        case _:
            assert isinstance(outcome, Rejected | Deferred)
