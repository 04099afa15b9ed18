"""No refusal of any kind of server shows a secret, whatever part of the request the server repeats in it."""

import json
from collections.abc import Mapping
from html import escape
from itertools import product
from pathlib import Path
from typing import Any

import attrs
import pytest

from restbroker.config.load import load
from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target
from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Outcome, Probe, Unsent
from restbroker.servers import registry
from restbroker.servers.api.answer import WORDS_LIMIT
from restbroker.servers.contract import Ports
from restbroker.servers.openfire.chat.options import Options
from restbroker.transport.client import open_transport
from restbroker.transport.message import NotSent
from tests.golden.memory import SERVICES
from tests.support.link import Direct
from tests.support.receiver import Answer, Received, Receiver
from tests.support.spellings import found_in
from tests.unit.servers.conftest import Act, answering

LOGIN, SHARED, JOBS = "l0gin/p4ss+<word>", "sh4red-s3cr3t", 'j0b/p4ss "w" s3cret'
SECRETS = {"login": LOGIN, "shared secret": SHARED, "of the job": JOBS}
BASIC = {"Basic": {"User": "admin@example.org", "Pass": LOGIN}}
FORM: Json = [{"var": "accountjid", "value": "a@example.org"}, {"var": "password", "value": JOBS}]
DOCUMENT = "mutation($p: String!) { account { registerUser(domain: $d, password: $p) { message } } }"
STANZA = f"<iq><query xmlns='jabber:iq:register'><password>{escape(JOBS)}</password></query></iq>"


@attrs.frozen
class Case:
    """A target of a kind, and a job with a secret in it."""

    entry: Mapping[str, Any]
    command: str
    arguments: Mapping[str, Json]


CASES = {
    "prosody-rest": Case({"Auth": BASIC}, "iq", {"to": "example.org", "command": {"node": "n", "form": FORM}}),
    "mongooseim": Case({"Auth": BASIC}, "graphql", {"query": DOCUMENT, "variables": {"p": JOBS}}),
    "openfire-rest": Case({"Options": {"Secret": SHARED}}, "create_user", {"username": "a", "password": JOBS}),
    "openfire-chat": Case(
        {"Auth": {"Basic": {**BASIC["Basic"], "User": "admin"}}},
        "put_sip_account",
        {"username": "a", "password": JOBS},
    ),
    "ejabberd": Case({"Auth": BASIC}, "send_stanza", {"from": "a@example.org", "to": "b@x", "stanza": STANZA}),
    "http": Case(
        {"Options": {"AllowPrivate": True, "Commands": {"note": {"Path": "n", "Query": {"api_key": SHARED}}}}},
        "note",
        {"settings": json.dumps({"smtp": {"password": JOBS}})},
    ),
}


def repeating(status: int, *, is_page: bool) -> Any:
    """Answers with the whole request, its body as a text of JSON or as it came."""

    def act(received: Received) -> Answer:
        lines = [
            f"{received.method} {received.target}",
            *(f"{name}: {text}" for name, text in received.headers.items()),
        ]
        whole = "\n".join([*lines, "", received.body.decode()])
        text = escape(whole) if is_page else whole
        return Answer(status, text.encode(), {"Content-Type": "text/html" if is_page else "text/plain"})

    return act


def target_of(kind: str, url: str, file: Path, login: str = LOGIN, **changed: Any) -> Target:
    entry = {"Kind": kind, "URL": url, "Domain": "example.org", "Queues": ["q"], **CASES[kind].entry, **changed}
    if kind == "http":
        del entry["Domain"]
    text = json.dumps({"Token": "t", "Targets": {"t": entry}}).replace(LOGIN, login)
    file.write_text(text if login == LOGIN else text.replace(SHARED, login))
    target = load(file, {}, {}, registry.kinds()).config.targets[0]
    if kind == "openfire-chat":
        # Configurations with both are refused; a connector is open to them.
        return attrs.evolve(target, credentials=Basic("admin", Secret(LOGIN)), options=Options(Secret(SHARED)))
    return target


async def probe_and_deliver(kind: str, act: Act, file: Path, login: str = LOGIN) -> tuple[Probe, Outcome]:
    """What becomes of a probe, and of the kind's job, where the server answers so."""
    case = CASES[kind]
    with Receiver(act) as server:
        target = target_of(kind, server.url, file, login)
        http = open_transport(target)
        try:
            ports = Ports(lambda _: None, lambda: 1_700_000_000.0, http, SERVICES)
            connector = registry.open_connector(target, ports)
            probe = await connector.probe(Direct(http))
            server.received.clear()
            outcome = await connector.deliver(Call(Command(case.command, case.arguments)), Direct(http))
        finally:
            await http.aclose()
        assert server.received
    return probe, outcome


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@pytest.mark.parametrize("kind", sorted(CASES))
async def test_no_refusal_shows_a_secret_though_the_server_repeats_it(kind: str, tmp_path: Path) -> None:
    for status, is_page in product((200, 302, 400, 401, 404, 409, 500, 503, 504), (False, True)):
        probe, outcome = await probe_and_deliver(kind, repeating(status, is_page=is_page), tmp_path / "env.json")
        assert found_in(repr(probe), SECRETS) == [], (status, is_page)
        if isinstance(outcome, Delivered | Unsent):
            assert status == 200  # what was done is its producer's
            continue
        shown = f"{outcome.reason.message}\n{outcome.reason.hint}\n{getattr(outcome, 'text', None)}"
        assert found_in(shown, SECRETS) == [], (status, is_page)


async def test_missing_secret_file_leaves_job_unsent_and_fails_probe(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    basic = {"Auth": {"Basic": {"User": "admin@example.org", "PassFile": str(file)}}}
    filed: dict[str, dict[str, Any]] = dict.fromkeys(("ejabberd", "mongooseim", "prosody-rest"), basic)
    filed["openfire-rest"] = {"Options": {"SecretFile": str(file)}}
    for kind, login in filed.items():
        file.write_text("p")
        target = target_of(kind, "http://127.0.0.1:1", tmp_path / "env.json", **login)
        file.unlink()
        http, case = open_transport(target), CASES[kind]
        connector = registry.open_connector(target, Ports(lambda _: None, lambda: 1_700_000_000.0))
        call = Call(Command(case.command, case.arguments))
        for go in (connector.deliver(call, Direct(http)), connector.probe(Direct(http))):
            with pytest.raises(NotSent, match="cannot be read") as caught:
                await go
            assert not caught.value.by_request, kind
        await http.aclose()


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@pytest.mark.parametrize("kind", sorted(CASES))
async def test_cut_refusal_leaves_no_beginning_of_a_secret(kind: str, tmp_path: Path) -> None:
    words = b"x" * (WORDS_LIMIT - 5) + JOBS.encode()
    _, outcome = await probe_and_deliver(kind, answering(400, words, Content_Type="text/plain"), tmp_path / "env.json")
    assert not isinstance(outcome, Delivered | Unsent)
    shown = f"{outcome.reason.message}\n{getattr(outcome, 'text', None)}"
    assert JOBS[:4] not in shown


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@pytest.mark.parametrize("kind", sorted(CASES))
async def test_redirect_is_masked_before_its_login_and_query_are_cut(kind: str, tmp_path: Path) -> None:
    login = "s3same?4711//a@end"
    for secret in (login, JOBS):
        # As it came, a path ends at the `?` within it, and a login at the `@`.
        address = f"https://u:x@example.org/a/{secret}/b?c=d"
        act = answering(302, b"", Location=address)
        probe, outcome = await probe_and_deliver(kind, act, tmp_path / "env.json", login)
        shown = repr((probe, outcome) if secret == login else outcome)  # the probe is not about the job
        assert not [part for part in ("s3same", "4711", "j0b/p4ss", "u:x", "c=d") if part in shown]


def in_form(word: str) -> list[Json]:
    """Answers of servers with the word in the places of codes, names and versions, which are shown as they are."""
    extensions = {"code": "deps_not_loaded", "not_loaded_modules": [word], "not_loaded_services": [word]}
    server = {"server": {"status": {"statusCode": "RUNNING", "version": word}}}
    return [
        {"errors": [{"message": "", "extensions": extensions}]},
        {"errors": [{"message": "no", "extensions": {"code": word}}]},
        {"data": {"a": {"b": 1}}, "errors": [{"message": "no", "extensions": {"code": word}}]},
        {"data": {"checkAuth": {"authStatus": "AUTHORIZED", "authType": word}, **server}},
        {"kind": "iq", "type": "result", "version": {"name": word, "version": word}},
        {"kind": "iq", "type": "result", "version": {"version": "1" * 33 + word}},
        {"data": {"checkAuth": {"authStatus": "AUTHORIZED"}, "server": {"status": {"version": "1" * 33 + word}}}},
        {"kind": "iq", "type": "error", "error": {"condition": "x" * 53 + word}},
    ]


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
async def test_no_login_is_shown_in_the_place_of_a_code_or_version(tmp_path: Path) -> None:
    login = "sesame4711"
    for kind, status, said in product(("mongooseim", "prosody-rest"), (200, 400, 401, 500), in_form(login)):
        act = answering(status, json.dumps(said).encode(), Content_Type="application/json")
        probe, outcome = await probe_and_deliver(kind, act, tmp_path / "env.json", login)
        shown = repr((probe, outcome.note if isinstance(outcome, Delivered) else outcome))
        assert login[:6] not in shown, (kind, status, said)
