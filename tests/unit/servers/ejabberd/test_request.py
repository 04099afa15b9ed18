"""What the catalogue says of ejabberd's versions, and the requests that it gets: by deliver, by plans, as stanzas."""

import json
from collections.abc import Mapping
from itertools import repeat
from typing import Final, cast
from xml.etree import ElementTree as ET

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Bearer, Credentials, Target, Url
from restbroker.errors import ConfigError
from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.servers.api.table import InvalidArguments
from restbroker.servers.contract import Planner, Ports
from restbroker.servers.ejabberd import catalogue
from restbroker.servers.ejabberd.catalogue import api_of, for_version, too_old
from restbroker.servers.ejabberd.connector import open_connector
from restbroker.servers.ejabberd.options import Options
from restbroker.servers.ejabberd.request import as_stanza, build, headers_of, question, route
from restbroker.transport.message import Request, Response
from tests.support.link import Scripted
from tests.support.rows import rows


def test_the_newest_entry_that_is_not_newer_is_chosen() -> None:
    rows: list[tuple[str | None, str]] = [
        (None, "26.07"),
        ("unknown", "26.07"),
        ("23.01-1", "23.01"),
        ("24.02", "23.01"),
        ("25.03", "24.12"),
        ("27.01", "26.07"),
        ("18.06", "23.01"),
    ]
    assert [(wanted, found) for wanted, found in rows if for_version(wanted).version != found] == []


def test_the_interface_version_is_read_from_the_end_of_a_path() -> None:
    rows: list[tuple[str, int | None]] = [
        ("/api", None),
        ("/api/v2", 2),
        ("register/v0", 0),
        ("register", None),
        ("/v2/api", None),
    ]
    assert [(path, api) for path, api in rows if api_of(path) != api] == []


TOUCHES_THE_SERVER = {
    *("cluster", "mnesia", "modules", "erlang", "db", "sql", "config"),
    *("internal", "documentation", "ejabberdctl", "server"),
}
"""ejabberd's own tags (23.01 to 26.07) of commands that are about the server itself."""
HARMLESS = {
    # Which version, which hosts, and what was said.
    *("status", "registered_vhosts", "echo", "echo3"),
    # A user's own messages.
    *("get_mam_messages", "get_offline_messages"),
}


def test_command_about_the_server_or_a_file_of_it_is_dangerous() -> None:
    for version in ("23.01", "24.12", "26.07"):
        catalogue = for_version(version)
        about_it = {name for name, spec in catalogue.commands.items() if spec.tags & TOUCHES_THE_SERVER} - HARMLESS
        assert {name for name in about_it if not catalogue.dangerous_in(name)} == set(), version
        places = ("file", "dir", "in", "out")
        takes = {name for name, spec in catalogue.commands.items() if any(map(spec.argument, places))}
        assert len(takes) > 15, version
        assert {name for name in takes if "files" not in catalogue.dangerous_in(name).get(name, ())} == set(), version


def test_server_may_be_too_old_for_interfaces_before_24_02() -> None:
    rows: list[tuple[str | None, int | None, bool]] = [
        ("23.01", 1, True),
        ("23.10-1", 0, True),
        ("24.02", 1, False),
        ("26.07", 3, False),
        (None, 1, False),
        ("23.01", None, False),
    ]
    for version, api, old in rows:
        target = Target("t", "ejabberd", Url("http", "127.0.0.1", 1), ("rest",), options=Options(api_version=api))
        assert (too_old(target, version) is not None) is old


TARGET = Target("t", "ejabberd", Url("http", "127.0.0.1", 5281, "/api"), ("rest",))


def built(
    command: str, arguments: Mapping[str, Json], *, host: str | None = None, credentials: Credentials = None
) -> Request:
    """The request of this command as 24.12 knows it."""
    spec = catalogue.for_version("24.12").commands.get(command)
    call = Call(Command(command, arguments), host=host)
    return build(call, route(command, spec, TARGET), headers_of(credentials))


def test_configured_interface_version_counts_where_none_is_named() -> None:
    """It counts for commands, and not for questions."""
    for version in (0, 2):
        pinned = attrs.evolve(TARGET, options=Options(api_version=version))
        assert route("register", None, pinned).path == f"/api/register/v{version}"
        assert route("register/v1", None, pinned).path == "/api/register/v1", version
        assert question(pinned, "status").path == "/api/status", version
    both = attrs.evolve(pinned, url=attrs.evolve(TARGET.url, path="/api/v1"))
    assert route("register", None, both).path == "/api/v1/register/v2"


def test_the_jobs_own_headers_are_passed_on() -> None:
    given = ("traceparent", "00-a-b-01")
    request = build(Call(Command("status", {}), headers=(given,)), route("status", None, TARGET), headers_of(None))
    assert request.headers == (*headers_of(None), given)


def test_token_fitting_no_header_is_an_error_that_hides_it() -> None:
    for token in ["", "a b", "a\r\nX: y", "é"]:
        with pytest.raises(ConfigError) as caught:
            built("status", {}, credentials=Bearer(Secret(token)))
        assert not token or token not in str(caught.value)


def test_the_host_is_added_where_no_name_of_it_is_given() -> None:
    for command, spec in catalogue.for_version(None).commands.items():
        host = spec.argument("host")
        names = {"host"} if host is None else {host.name, *host.aliases}
        takes_one = spec.fills_host or host is not None
        for given in ({}, *({name: "x"} for name in names)):
            call = Call(Command(command, given), host="example.org")
            request = build(call, route(command, spec, TARGET), headers_of(None))
            assert json.loads(request.body) == ({"host": "example.org"} if takes_one and not given else given), command


_TARGET: Final = Target(
    "t",
    "ejabberd",
    Url("http", "127.0.0.1", 5281, "/api"),
    ("rest",),
    credentials=Basic("a@x", Secret("p")),
    default_host="example.net",
)
_ARGUMENTS: Final[tuple[dict[str, Json], ...]] = (
    {},
    {"user": "a"},
    {"user": "a", "host": "x"},
    {"service": "conference.x", "nick": "a", "user": "a", "host": "x"},
    {"serverhost": "x"},
)
_BODIES: Final = (b"0", b"1", b'{"res":1}', b'{"res":0}', b'"a"', b"[]", b"true", b"", b"a page")


@pytest.mark.parametrize("api_version", [None, 2])
@pytest.mark.parametrize("version", ["23.01", "24.12", "26.07"])
async def test_plan_of_any_command_sends_and_judges_as_deliver_does(version: str, api_version: int | None) -> None:
    target = attrs.evolve(_TARGET, options=Options(server_version=version, api_version=api_version))
    connector = open_connector(target, Ports(lambda _: None, lambda: 0.0))
    planned = 0
    for name in (*connector.catalogue.commands, "in_no_catalogue"):
        for endpoint in (name, f"{name}/v1", f"{name}/v3"):
            plan = cast("Planner", connector).plan(endpoint)
            if plan is None:
                continue
            planned += 1
            for arguments in _ARGUMENTS:
                link, body = Scripted(repeat(Response(200, {}, b"0", 0.0))), plan.body(arguments)
                assert body is not None
                call = Call(Command(endpoint, arguments), host=target.default_host)
                await connector.deliver(call, link)
                assert link.requests == [attrs.evolve(plan.request, body=body)], endpoint
            for status, body in ((status, body) for status in (200, 201, 302) for body in _BODIES):
                outcome = plan.outcome(status, body)
                if outcome is not None:
                    link = Scripted(repeat(Response(status, {}, body, 0.0)))
                    assert await connector.deliver(call, link) == outcome, (endpoint, status, body)
                    assert len(link.requests) == 1, "nothing is asked besides"
    assert planned > len(connector.catalogue.commands)


GIVEN: dict[str, Json] = {
    "type": "chat",
    "from": "shop@example.org",
    "to": "bob@example.org",
    "subject": "",
    "body": "hi",
    "id": "order-7",
}


def call(endpoint: str = "send_message", **changes: Json) -> Call:
    return Call(Command(endpoint, GIVEN | changes), maybe_run=True, identity="i")


def test_the_version_of_the_interface_that_the_job_names_stays() -> None:
    assert as_stanza(call("send_message/v1")).command.endpoint == "send_stanza/v1"


@rows("text", ["<body>&amp;]]></message>", "\"'\t\r\n\r x", "☂ 𝄞"])
def test_whatever_a_text_has_stays_text(text: str) -> None:
    stanza = as_stanza(call(type=text, id=text, subject=text, body=text)).command.arguments["stanza"]
    message = ET.fromstring(str(stanza))  # noqa: S314 - our own
    assert message.attrib == {"type": text, "id": text}
    assert [(part.tag, part.text) for part in message] == [("subject", text), ("body", text)]


def test_an_empty_subject_stands_beside_an_empty_body_alone() -> None:
    stanza = as_stanza(call(body="")).command.arguments["stanza"]
    assert stanza == '<message type="chat" id="order-7"><subject /><body /></message>'


def stanza_of(**arguments: Json) -> str:
    """The stanza of a message whose job gives no id."""
    given = {name: value for name, value in GIVEN.items() if name != "id"}
    call = Call(Command("send_message", given | arguments), identity="the jid")
    return str(as_stanza(call).command.arguments["stanza"])


def test_a_message_with_receipts_asks_and_has_its_jobs_id() -> None:
    asks = '<request xmlns="urn:xmpp:receipts" /><markable xmlns="urn:xmpp:chat-markers:0" /></message>'
    rows: list[tuple[Json, bool]] = [("true", True), (True, True), ("false", False), (False, False)]
    for word, is_asked in rows:
        stanza = stanza_of(receipts=word)
        assert stanza.startswith('<message type="chat" id="the jid"><body>hi</body>')
        assert stanza.endswith(asks) is is_asked, word
    assert 'id="order-7"' in str(as_stanza(call(receipts="true")).command.arguments["stanza"])


@rows("word", ["yes", "", 1, None])
def test_another_word_for_receipts_is_refused(word: Json) -> None:
    with pytest.raises(InvalidArguments, match="receipts"):
        stanza_of(receipts=word)


def test_a_jid_that_xml_cannot_hold_names_no_message() -> None:
    """Otherwise ejabberd writes it into its receiver's stream: the client is disconnected."""
    given = {name: value for name, value in GIVEN.items() if name != "id"} | {"receipts": True}
    with pytest.raises(InvalidArguments, match="control character"):
        as_stanza(Call(Command("send_message", given), identity="a\x00"))
