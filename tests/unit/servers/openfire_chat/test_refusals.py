"""What a real ofchat refused becomes: its code and its message, in ofchat's own words where it has some."""

import json

from restbroker.job.command import Call, Command
from restbroker.job.outcome import Outcome, Rejected
from restbroker.servers.openfire.chat import catalogue
from restbroker.servers.openfire.chat.catalogue import table
from restbroker.servers.openfire.chat.outcomes import classify, classify_login
from restbroker.transport.message import Response
from tests.support.player import recorded

REFUSED = [(made.command, made.answer) for made in recorded("openfire-chat/0.9.6/commands") if made.status == 400]


def answered(body: str) -> Response:
    headers = {"content-type": "application/json"} if body else {}
    return Response(400, headers, body.encode(), 0.0)


def judged(command: str, body: str) -> Outcome:
    if command == "chat_login":
        return classify_login(answered(body), 0.0, ())
    spec = catalogue.for_version(None).commands[command]
    return classify(Call(Command(command, {})), table("source")[command], spec, answered(body), 0.0, "")


def test_each_refusal_quotes_openfire_or_says_it_gives_no_reason() -> None:
    assert len(REFUSED) > 15
    for command, body in REFUSED:
        outcome = judged(command, body)
        assert isinstance(outcome, Rejected), (command, body)
        error = json.loads(body) if body.endswith("}") else {}
        words = [error.get(name) for name in ("message", "ressource")]
        reasons = [word for word in words if word not in (None, "Exception", "Error")]
        assert all(reason in outcome.reason.message for reason in reasons), (command, body)
        if outcome.reason.code == "Refused":
            assert ("gives no reason" in outcome.reason.text) is (not reasons), (command, body)


def test_refused_login_quotes_openfire_without_the_password() -> None:
    def reason_for(ressource: str) -> str:
        body = {"exception": "IllegalArgumentException", "message": "Exception", "ressource": ressource}
        outcome = classify_login(answered(json.dumps(body)), 0.0, ("hunter2xyz", "", "123456"))
        assert isinstance(outcome, Rejected)
        assert outcome.reason.code == "UserLoginRefused"
        return outcome.reason.message

    assert reason_for("Exception").endswith("Openfire gives no reason.")
    assert "Illegal JID: admin@example.org@example.org" in reason_for("Illegal JID: admin@example.org@example.org")
    shown = reason_for("no login of hunter2xyz with 123456")
    assert "no login of *** with ***" in shown


def test_no_refusal_reveals_a_login() -> None:
    for status in (400, 404, 409, 500, 503):
        body = '{"exception":"X","message":"streams:\\nofchat-416662711","ressource":"ofchat696464824"}'
        response = Response(status, {"content-type": "application/json"}, body.encode(), 0.0)
        spec = catalogue.for_version(None).commands["list_sessions"]
        outcome = classify(
            Call(Command("list_sessions", {})), table("source")["list_sessions"], spec, response, 0.0, ""
        )
        assert "streams" in repr(outcome), status
        assert "ofchat" not in repr(outcome), status
