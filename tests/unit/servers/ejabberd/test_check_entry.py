"""What `check` makes of a target's first answer, of no answer, and of the lines it proposes."""

import json
from base64 import b64encode
from pathlib import Path

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Bearer, Credentials, Target, Url
from restbroker.servers.ejabberd.answer import is_stopped, read, version_in
from restbroker.servers.ejabberd.check import ejabberd_yml
from restbroker.servers.ejabberd.check.entry import classify_entry, unreachable
from restbroker.servers.ejabberd.check.find_api import is_api
from restbroker.servers.ejabberd.check.hosts import classify_hosts
from restbroker.servers.findings import Cause
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


def test_a_running_ejabberd_is_usable_and_tells_its_version_and_a_forbidden_status_is_still_ejabberd() -> None:
    entry = classify_entry(TARGET, response(200, RUNNING))
    assert (entry.finding.level, entry.version) == ("ok", "23.01")
    entry = classify_entry(TARGET, response(403, FORBIDDEN))
    assert (entry.finding.level, entry.version) == ("ok", None)


def test_each_wrong_answer_has_its_name_and_cure() -> None:
    rows: list[tuple[Response, str, Cause, bool]] = [
        (response(200, b"<html>hello</html>"), "NotTheApi", "target", True),
        (response(200, {"app": "other"}), "NotTheApi", "target", True),
        (response(404, b"<h1>404 Not Found</h1>"), "NotTheApi", "target", True),
        (response(301, b"", location="https://h/api/status?x=1"), "Redirect", "target", True),
        (response(401, {"code": 10, "message": "You are not authorized"}), "LoginRefused", "refused", False),
        (response(403, b"<h1>403 Forbidden</h1>"), "Refused", "refused", False),
        (response(400, "unknown_command"), "Unwell", "target", False),
        (response(200, "The node n@h is stopped. Status: stopped"), "Unwell", "target", False),
    ]
    for answer, code, cause, elsewhere in rows:
        entry = classify_entry(TARGET, answer)
        finding = entry.finding
        assert (finding.code, finding.cause, finding.level) == (code, cause, "problem"), (answer, code)
        assert entry.elsewhere == elsewhere, (answer, code)
        assert finding.why, (answer, code)
        assert finding.hint, (answer, code)


def test_what_the_server_tells_of_its_hosts_does_not_show_the_login() -> None:
    said = (("Authorization", "Basic " + b64encode(b"bob@h:l0gin-p4ss-w0rdZ").decode()),)
    told = attrs.evolve(response(200, ["l0gin-p4ss-w0rdZ", "example.org"]), request_pairs=said)
    for domain in ("l0gin-p4ss-w0rdx", None):
        finding = classify_hosts(attrs.evolve(TARGET, default_host=domain), told, "26.07")
        assert "***, example.org" in finding.message, domain
        assert finding.hint == '"JabberDomain": "***"', domain


def test_a_redirect_names_the_url_behind_it_without_a_login() -> None:
    finding = classify_entry(TARGET, response(302, b"", location="https://x:y@other/api/status?z=1")).finding
    assert finding.hint == '"RestURL": "https://other/api"'
    assert "x:y" not in repr(finding)


def test_each_silence_has_its_name_and_cure() -> None:
    rows: list[tuple[NotSent | MaybeSent, str, str]] = [
        (NotSent("No connection"), "Unreachable", "runs"),
        (MaybeSent("No whole answer", timed_out=True), "Silent", "load and log"),
        (NotSent("No connection in time", timed_out=True), "Unreachable", "runs"),
        (MaybeSent("The connection broke"), "HangsUp", "runs"),
        (NotSent("TLS: CERTIFICATE_VERIFY_FAILED", tls=True), "TlsFailed", "CA"),
        (NotSent("TLS: UNEXPECTED_EOF", tls=True), "TlsFailed", '"RestURL": "http://h:443/api"'),
    ]
    for error, code, says in rows:
        finding = unreachable(TARGET, error)
        assert (finding.code, finding.cause) == (code, "target"), (error, code)
        assert says in (finding.hint or ""), (error, code)


def test_only_ejabberds_own_way_to_complain_is_taken_for_its_api() -> None:
    rows: list[tuple[Response, bool]] = [
        (response(400, "Request have unknown arguments: [zz_probe]"), True),
        (response(403, FORBIDDEN), True),
        (response(401, {"code": 10}), True),
        (response(404, b"<h1>404 Not Found</h1>"), False),
        (response(401, {"error": "login"}), False),
        (response(200, {"unknown argument": 1}), False),
    ]
    assert [(answer, expected) for answer, expected in rows if is_api(answer) is not expected] == []


def test_the_lines_for_rights_name_whoever_logs_in() -> None:
    rows: list[tuple[Credentials, str, str]] = [
        (Basic("bob@h", Secret("hush")), "h", '- user: "bob@h"'),
        (Bearer(Secret("hush")), "h", '- scope: "ejabberd:admin"'),
        (None, "127.0.0.1", 'ip: "127.0.0.1/32"'),
        (None, "h", "THIS MACHINE'S ADDRESS"),
    ]
    for credentials, host, who in rows:
        target = attrs.evolve(TARGET, credentials=credentials, url=Url("http", host, 5281))
        lines = ejabberd_yml.permissions(target, ["register"])
        assert who in lines, (credentials, host)
        assert lines.endswith('    what:\n      - "register"'), (credentials, host)
        assert "hush" not in lines, (credentials, host)


def test_the_lines_that_offer_the_api_open_no_more_than_the_url_needs() -> None:
    assert 'ip: "127.0.0.1"' in ejabberd_yml.listen(Url("http", "localhost", 5281, "/api"))
    remote = ejabberd_yml.listen(Url("https", "xmpp.example.org", 5443))
    assert 'port: 5443\n    ip: "::"\n    module: ejabberd_http\n    tls: true\n' in remote
    assert "/api: mod_http_api" in remote


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
def test_a_password_that_is_a_word_of_the_answer_is_not_shown_and_hides_no_version() -> None:
    said = (("Authorization", "Basic " + b64encode(b"admin@h:ejabberd").decode()),)
    answer = read(attrs.evolve(response(200, RUNNING), request_pairs=said))
    assert (version_in(answer), is_stopped(answer)) == ("23.01", False)
    assert "ejabberd" not in answer.message + answer.text


def test_each_refused_login_is_told_what_to_try_and_no_command_line_shows_the_password() -> None:
    def hint(credentials: Credentials) -> str:
        found = classify_entry(attrs.evolve(TARGET, credentials=credentials), response(401, "no")).finding.hint
        return found or ""

    assert "`ejabberdctl check_account bob h` ends with 0 if the account exists" in hint(TARGET.credentials)
    assert "hush" not in hint(TARGET.credentials)
    assert hint(Basic("bob", Secret("hush"))) == '"RestUser": "bob@h"'
    assert "oauth_issue_token" in hint(Bearer(Secret("hush")))


def test_the_password_that_is_refused_is_named_by_its_key_or_its_file() -> None:
    def why(password: Secret) -> str:
        credentials = Basic("bob@h", password)
        return classify_entry(attrs.evolve(TARGET, credentials=credentials), response(401, "no")).finding.why or ""

    assert "the password (RestPass) is wrong" in why(Secret("hush"))
    assert "the password in /etc/env.password is wrong" in why(Secret(path=Path("/etc/env.password")))
