"""What Synapse 1.163.2 answered to the connector's requests, and what becomes of the jobs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import attrs
import pytest
import trio

from restbroker.config.secret import Secret
from restbroker.config.target import Bearer, Target, Url
from restbroker.job.command import Call, Command
from restbroker.job.outcome import Delivered, Denied, Outcome, Probe, Rejected
from restbroker.servers.contract import Connector, Ports
from restbroker.transport.message import Request, Response
from restbroker_synapse.connector import open_connector

FILE: Final = Path(__file__).parent / "recorded" / "synapse-1.163.2.json"
EXCHANGES: Final = json.loads(FILE.read_text("utf-8"))["exchanges"]
ALICE: Final = {"user": "alice"}
NOBODY: Final = {"user": "nobody"}
SET: Final = {**ALICE, "password": "s3cret", "displayname": "Alice"}
NEW: Final = {**ALICE, "new_password": "n3w", "logout_devices": True}
DONE: Final[list[tuple[str, str, Mapping[str, Any]]]] = [
    ("A new user is made.", "set_user", SET),
    ("Once more: nothing changes.", "set_user", SET),
    ("Another name to show.", "set_user", {**ALICE, "displayname": "Alice L."}),
    ("There is one.", "get_user", ALICE),
    ("All users.", "list_users", {"from": 0, "limit": 10, "deactivated": False}),
    ("A new password.", "reset_password", NEW),
    ("An administrator is made.", "set_admin", {**ALICE, "admin": True}),
    ("No administrator any more.", "set_admin", {**ALICE, "admin": False}),
    ("The user is deactivated.", "deactivate_user", {**ALICE, "erase": False}),
    ("Once more: it answers as before.", "deactivate_user", {**ALICE, "erase": False}),
]
REFUSED: Final[list[tuple[str, str, Mapping[str, Any], str]]] = [
    ("There is no such user yet.", "get_user", ALICE, "NotFound"),
    ("A password of nobody.", "reset_password", {**NOBODY, "new_password": "n3w"}, "NotFound"),
    ("Nobody is made an administrator.", "set_admin", {**NOBODY, "admin": True}, "NotFound"),
    ("Nobody is deactivated.", "deactivate_user", NOBODY, "NotFound"),
    ("A letter that new users may not have.", "set_user", {"user": "Alice", "password": "s3cret"}, "Refused"),
    ("A number that is none.", "list_users", {"from": -1}, "Refused"),
    ("Administrators keep their own rights.", "set_admin", {"user": "admin", "admin": False}, "Refused"),
]
OTHER_DOMAIN: Final[list[tuple[str, str, Mapping[str, Any]]]] = [
    ("Another server's user.", "set_user", {**ALICE, "password": "x"}),
    ("Another server's user: get_user.", "get_user", ALICE),
    ("Another server's user: deactivate_user.", "deactivate_user", ALICE),
    ("Another server's user: set_admin.", "set_admin", {**ALICE, "admin": True}),
]


@attrs.define
class Recorded:
    """A link that takes the requests that were recorded, in their order, and answers as Synapse did."""

    left: list[Any]

    async def send(self, request: Request) -> Response:
        exchange = self.left.pop(0)
        expected, answer = exchange["request"], exchange["response"]
        query = f"?{urlencode(request.query)}" if request.query else ""
        assert (request.method, request.path + query) == (expected["method"], expected["path"])
        assert {name.lower(): value for name, value in request.headers} == expected["headers"]
        assert request.body.decode() == expected.get("body", "")
        return Response(answer["status"], answer["headers"], answer["body"].encode(), 0.1)

    ask = send

    async def task(self) -> None:
        pass


def recorded(about: str) -> Recorded:
    """Return what was recorded under this heading."""
    return Recorded([exchange for exchange in EXCHANGES if exchange["about"] == about])


def connector(token: str = "TOKEN", domain: str = "example.org", path: str = "") -> Connector:
    url = Url("http", "127.0.0.1", 8008, path)
    target = Target("matrix", "synapse", url, ("matrix",), Bearer(Secret(token)), default_host=domain)
    return open_connector(target, Ports(lambda _: None, lambda: 0.0))


def outcome(link: Recorded, name: str, arguments: Mapping[str, Any], opened: Connector | None = None) -> Outcome:
    """Deliver without Trio: what awaits anything but the link fails."""
    run = (opened or connector()).deliver(Call(Command(name, arguments)), link)
    with pytest.raises(StopIteration) as end:
        run.send(None)
    assert isinstance(end.value.value, Outcome)
    return end.value.value


def probed(about: str, opened: Connector) -> Probe:
    link = recorded(about)
    found = trio.run(opened.probe, link)
    assert link.left == []
    return found


@pytest.mark.parametrize(("about", "name", "arguments"), DONE)
def test_what_synapse_does_is_done_and_its_producer_gets_the_answer(
    about: str, name: str, arguments: Mapping[str, Any]
) -> None:
    link = recorded(about)
    body = json.loads(link.left[0]["response"]["body"])
    done = outcome(link, name, arguments)
    assert isinstance(done, Delivered)
    assert (done.body, link.left) == (body, [])


@pytest.mark.parametrize(("about", "name", "arguments", "code"), REFUSED)
def test_what_would_fail_again_is_rejected(about: str, name: str, arguments: Mapping[str, Any], code: str) -> None:
    ended = outcome(recorded(about), name, arguments)
    assert isinstance(ended, Rejected)
    assert ended.reason.code == code


@pytest.mark.parametrize(
    ("about", "token"),
    [("A token of somebody who is no administrator.", "PLAIN"), ("A token that is none.", "WRONG")],
)
def test_a_login_that_is_refused_kills_no_job(about: str, token: str) -> None:
    ended = outcome(recorded(about), "get_user", ALICE, connector(token))
    assert isinstance(ended, Denied)
    assert ended.reason.code == "LoginRefused"


@pytest.mark.parametrize(("about", "name", "arguments"), OTHER_DOMAIN)
def test_another_domain_kills_no_job(about: str, name: str, arguments: Mapping[str, Any]) -> None:
    ended = outcome(recorded(about), name, arguments, connector(domain="other.org"))
    assert isinstance(ended, Denied)
    assert ended.reason.code == "WrongDomain"


def test_to_reset_password_another_domain_is_a_missing_user() -> None:
    link, new = recorded("Another server's user: reset_password."), {**ALICE, "new_password": "x"}
    assert isinstance(outcome(link, "reset_password", new, connector(domain="other.org")), Rejected)


def test_a_path_that_synapse_does_not_know_kills_no_job() -> None:
    ended = outcome(
        recorded("A path that Synapse does not know."), "get_user", ALICE, connector(path="/_synapse/admin/v9")
    )
    assert isinstance(ended, Denied)
    assert ended.reason.code == "NotTheApi"


def test_a_name_stays_one_segment_of_the_path() -> None:
    assert isinstance(outcome(recorded("A name with a plus and a slash."), "get_user", {"user": "a+b/c"}), Rejected)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("get_user", {"user": "alice:other.org"}),
        ("get_user", {"user": "@alice"}),
        ("get_user", {"user": "alice", "host": "other.org"}),
        ("get_user", {"user": ""}),
        ("set_user", {"password": "s3cret"}),
        ("server_version", {}),
    ],
)
def test_what_is_not_about_a_user_of_this_server_is_refused_and_not_sent(
    name: str, arguments: Mapping[str, Any]
) -> None:
    assert isinstance(outcome(Recorded([]), name, arguments), Rejected)


def test_the_probe_tells_the_version_once_an_administrator_was_let_in() -> None:
    probe = probed("The probe, as an administrator.", connector())
    assert (probe.ok, probe.version, probe.detail) == (True, "1.163.2", "Synapse 1.163.2 answers.")


@pytest.mark.parametrize(
    ("about", "opened", "says"),
    [
        ("The probe of somebody who is no administrator.", connector("PLAIN"), "not a server admin"),
        ("The probe with a token that is none.", connector("WRONG"), "Invalid access token"),
        ("The probe where there is no API.", connector(path="/v9"), "This is not Synapse"),
        ("The probe of a target with another domain.", connector(domain="other.org"), "@admin:example.org"),
    ],
)
def test_the_probe_says_why_no_job_would_get_through(about: str, opened: Connector, says: str) -> None:
    probe = probed(about, opened)
    assert (probe.ok, probe.denied, says in probe.detail) == (False, True, True)
