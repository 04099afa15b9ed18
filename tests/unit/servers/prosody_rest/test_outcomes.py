"""What each answer of mod_rest and of the modules beside it means for the job."""

import json
from collections.abc import Mapping
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Outcome, Rejected, Uncertain
from restbroker.servers.prosody.catalogue import for_version
from restbroker.servers.prosody.outcomes import classify
from restbroker.servers.prosody.table import TABLE
from restbroker.transport.message import Response
from tests.support.player import FOLDER, parsed, recorded

SPECS = for_version(None).commands
VERSIONS = ("0.12.3", "13.0.1")
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


def expected(words: str, kind: str) -> str:
    """The fate of what was recorded: by its words alone, which were read by a person."""
    is_done, is_failed = "successfully" in words, "could not be" in words or kind == "error"
    return "partly" if is_done and is_failed else "failed" if is_failed else "done"


def test_what_prosody_says_of_several_accounts_is_done_failed_or_partly_done_as_its_words_tell() -> None:
    for version in ("0.12.3", "13.0.1"):
        exchanges = [(parsed(one.body or ""), parsed(one.answer)) for one in recorded(f"prosody/{version}/ad-hoc")]
        notes = [(asked, told, told["command"]["note"]) for asked, told in exchanges if "command" in told]
        assert {expected(note["text"], note["type"]) for *_, note in notes} == {"partly", "failed", "done"}, version
        for asked, told, note in notes:
            outcome = answer(200, told, "iq", arguments=asked)
            match expected(note["text"], note["type"]):
                case "failed":
                    reason = reason_of(outcome)
                    assert (type(outcome), reason.code) == (Rejected, "CommandFailed"), version
                    assert reason.message == "The ad-hoc command failed: " + " ".join(note["text"].split()), version
                case "partly":
                    assert isinstance(outcome, Delivered), version
                    names, bad = asked["command"]["data"]["accountjids"], note["text"].partition("could not be")[2]
                    assert outcome.note == f"partly done: {len(bad.splitlines()) - 1} of {len(names)} failed", version
                case _:
                    assert isinstance(outcome, Delivered), version
                    assert outcome.note is None, version


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


def _of_step(version: str, file: str, status: int, **step: Any) -> Outcome:
    """What the recorded answer of this status to a step of these members means."""
    steps = [
        (one["step"], one["response"])
        for one in json.loads((FOLDER / f"prosody/{version}/{file}.json").read_text("utf-8"))["exchanges"]
        if one["response"]["status"] == status and step.items() <= one.get("step", {}).items()
    ]
    of_step, response = steps[0]
    return answer(status, response["body"].encode(), of_step["command"], arguments=of_step.get("arguments", {}))


def test_a_refusal_of_mod_rest_is_shown_by_its_text_with_what_to_do() -> None:
    for version in VERSIONS:
        login = reason_of(_of_step(version, "refused", 403, login="wrong", command="message"))
        assert (login.code, login.message) == ("LoginRefused", "Status 403: Credentials not accepted"), version
        other = reason_of(_of_step(version, "stanzas", 403))
        assert other.code == "CommandForbidden", version
        assert other.message == "Status 403: Not authorized to send stanza with requested 'from'", version
        assert "needs its own target" in other.hint, version
        bare = reason_of(_of_step(version, "refused", 401))
        assert bare.message == "The server answered with status 401 and no text.", version


def test_a_refused_ad_hoc_command_says_what_it_lacks() -> None:
    told = {"forbidden": "administrator", "service-unavailable": "module"}
    for condition, word in told.items():
        outcome = answer(200, error("cancel", condition), "iq", arguments={"to": "h", "command": {"node": "x"}})
        assert word in reason_of(outcome).hint, condition
        assert word not in reason_of(answer(200, error("cancel", condition), "iq")).hint, condition


def test_a_crash_of_prosody_asks_the_probe_and_names_the_account() -> None:
    for version in VERSIONS:
        for command, pauses in (("message", True), ("msg", False)):
            outcome = _of_step(version, "no-account", 500, command=command)
            assert isinstance(outcome, Deferred), version
            assert (outcome.max_attempts, outcome.pause_target) == (3, pauses), (version, command)
            assert "account exists" in (outcome.reason.hint or ""), (version, command)


def test_an_iq_that_nobody_answered_is_asked_again_unless_it_may_have_changed_something() -> None:
    unanswered = page("Internal Server Error", "IQ stanza timed out")
    asks: Mapping[str, Json] = {"to": "a@localhost", "disco": True}
    assert isinstance(answer(500, unanswered, "ping"), Deferred)
    assert isinstance(answer(500, unanswered, "iq", arguments=asks), Deferred)
    for status, body in ((500, unanswered), (504, b""), (200, error("wait", "remote-server-timeout"))):
        outcome = answer(status, body, "iq", arguments={"to": "a@localhost", "type": "set"})
        assert isinstance(outcome, Uncertain), status
        assert outcome.reason.code == "StanzaUnanswered", (status, body)
    assert isinstance(answer(200, error("wait", "remote-server-timeout")), Deferred)


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
