"""What `check` makes of a target's first answer, of no answer, and of the lines it proposes."""

import json
from base64 import b64encode

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Bearer, Credentials, Target, Url
from restbroker.connectors.ejabberd.answer import is_stopped, read, version_in
from restbroker.connectors.ejabberd.check import ejabberd_yml
from restbroker.connectors.ejabberd.check.entry import judge_entry
from restbroker.connectors.ejabberd.check.find_api import is_api
from restbroker.connectors.ejabberd.check.no_answer import unreachable
from restbroker.rules.findings import Cause
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Response

TARGET = Target(
    "t", "ejabberd", Url("https", "h", 443, "/api"), ("rest",), Basic("bob@h", Secret("hush")), default_host="h"
)
RUNNING = "The node n@h is started. Status: startedejabberd 23.01-1 is running in that node"
FORBIDDEN = {"status": "error", "code": 32, "message": "AccessRules: Account does not have the right."}


def response(status: int, body: object, **headers: str) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, headers, raw, 0.0)


def test_a_running_ejabberd_is_usable_and_tells_its_version() -> None:
    entry = judge_entry(TARGET, response(200, RUNNING))
    assert (entry.finding.level, entry.version) == ("ok", "23.01")


def test_a_forbidden_status_is_still_ejabberd() -> None:
    entry = judge_entry(TARGET, response(403, FORBIDDEN))
    assert (entry.finding.level, entry.version) == ("ok", None)


@pytest.mark.parametrize(
    ("answer", "code", "cause", "elsewhere"),
    [
        (response(200, b"<html>hello</html>"), "NotTheApi", "target", True),
        (response(200, {"app": "other"}), "NotTheApi", "target", True),
        (response(200, "fine"), "NotTheApi", "target", True),
        (response(404, b"<h1>404 Not Found</h1>"), "NotTheApi", "target", True),
        (response(400, {"code": 40, "message": "Missing command name."}), "NotTheApi", "target", True),
        (response(301, b"", location="https://h/api/status?x=1"), "Redirect", "target", True),
        (response(401, {"code": 10, "message": "You are not authorized"}), "LoginRefused", "refused", False),
        (response(403, b"<h1>403 Forbidden</h1>"), "Refused", "refused", False),
        (response(400, "unknown_command"), "Unwell", "target", False),
        (response(429, b""), "Unwell", "target", False),
        (response(502, b"<h1>502 Bad Gateway</h1>"), "Unwell", "target", False),
        (response(200, "The node n@h is stopped. Status: stopped"), "Unwell", "target", False),
    ],
)
def test_each_wrong_answer_has_its_name_and_cure(answer: Response, code: str, cause: Cause, elsewhere: bool) -> None:
    entry = judge_entry(TARGET, answer)
    finding = entry.finding
    assert (finding.code, finding.cause, finding.level) == (code, cause, "problem")
    assert entry.elsewhere == elsewhere
    assert finding.why
    assert finding.cure


def test_a_redirect_names_the_url_behind_it_without_a_login() -> None:
    finding = judge_entry(TARGET, response(302, b"", location="https://x:y@other/api/status?z=1")).finding
    assert finding.cure == '"RestURL": "https://other/api"'
    assert "x:y" not in repr(finding)


def test_a_user_without_a_host_is_told_the_whole_address() -> None:
    short = attrs.evolve(TARGET, credentials=Basic("bob", Secret("hush")))
    finding = judge_entry(short, response(401, "no")).finding
    assert finding.cure == '"RestUser": "bob@h"'


def test_a_refused_token_is_told_how_to_make_one() -> None:
    finding = judge_entry(attrs.evolve(TARGET, credentials=Bearer(Secret("hush"))), response(401, "no")).finding
    assert "oauth_issue_token" in (finding.cure or "")


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (NotSent("No connection"), "Unreachable", "runs"),
        (MaybeSent("No whole answer", timed_out=True), "Silent", "load and log"),
        (NotSent("No connection in time", timed_out=True), "Unreachable", "runs"),
        (MaybeSent("The connection broke"), "HangsUp", "runs"),
        (NotSent("TLS: CERTIFICATE_VERIFY_FAILED", tls=True), "TlsFailed", "CA"),
        (NotSent("TLS: UNEXPECTED_EOF", tls=True), "TlsFailed", '"RestURL": "http://h:443/api"'),
    ],
)
def test_each_silence_has_its_name_and_cure(error: NotSent | MaybeSent, code: str, says: str) -> None:
    finding = unreachable(TARGET, error)
    assert (finding.code, finding.cause) == (code, "target")
    assert says in (finding.cure or "")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (response(400, "Request have unknown arguments: [zz_probe]"), True),
        (response(400, "Request have unknown argument: zz_probe"), True),
        (response(403, FORBIDDEN), True),
        (response(401, {"code": 10}), True),
        (response(404, b"<h1>404 Not Found</h1>"), False),
        (response(401, {"error": "login"}), False),
        (response(200, {"unknown argument": 1}), False),
    ],
)
def test_only_ejabberds_own_way_to_complain_is_taken_for_its_api(answer: Response, expected: bool) -> None:
    assert is_api(answer) is expected


@pytest.mark.parametrize(
    ("credentials", "host", "who"),
    [
        (Basic("bob@h", Secret("hush")), "h", '- user: "bob@h"'),
        (Bearer(Secret("hush")), "h", '- scope: "ejabberd:admin"'),
        (None, "127.0.0.1", 'ip: "127.0.0.1/32"'),
        (None, "h", "THIS MACHINE'S ADDRESS"),
    ],
)
def test_the_lines_for_rights_name_whoever_logs_in(credentials: Credentials, host: str, who: str) -> None:
    target = attrs.evolve(TARGET, credentials=credentials, url=Url("http", host, 5281))
    lines = ejabberd_yml.permissions(target, ["register"])
    assert who in lines
    assert lines.endswith('    what:\n      - "register"')
    assert "hush" not in lines


def test_the_lines_that_offer_the_api_open_no_more_than_the_url_needs() -> None:
    assert 'ip: "127.0.0.1"' in ejabberd_yml.listen(Url("http", "localhost", 5281, "/api"))
    remote = ejabberd_yml.listen(Url("https", "xmpp.example.org", 5443))
    assert 'port: 5443\n    ip: "::"\n    module: ejabberd_http\n    tls: true\n' in remote
    assert "/api: mod_http_api" in remote


def test_a_password_that_is_a_word_of_the_answer_is_not_shown_and_hides_no_version() -> None:
    said = (("Authorization", "Basic " + b64encode(b"admin@h:ejabberd").decode()),)
    answer = read(attrs.evolve(response(200, RUNNING), said=said))
    assert (version_in(answer), is_stopped(answer)) == ("23.01", False)
    assert "ejabberd" not in answer.words + answer.text


def test_a_wrong_password_is_to_be_tried_where_no_command_line_shows_it() -> None:
    finding = judge_entry(TARGET, response(401, "no")).finding
    assert finding.cure == "Try: curl --user bob@h --data '{}' https://h:443/api/status"
