"""What all kinds of servers share is in `servers/api` alone: a kind's folder composes it, and does none of it again."""

import ast
from pathlib import Path
from typing import Final

import pytest

from restbroker.servers import registry
from tests.support.shared_parts import CLIENT, FATE, MASKING, NOT_SENT, STREAM, doings
from tools.pages import ROOT

SERVERS: Final = ROOT / "restbroker" / "servers"
NO_KINDS: Final = {"api", "default", "__pycache__"}
EXCEPTIONS: Final = {
    ("ejabberd/answer.py", MASKING): "its words stand in JSON, whose texts are masked after it was parsed",
    ("mongooseim/answer.py", MASKING): "its words are those of one error of several",
    ("mongooseim/outcomes.py", MASKING): "an answer of success repeats what was sent, and is given to the producer",
    ("openfire/normal.py", MASKING): "a list of sessions, which is given to the producer, names others' logins",
    ("openfire/chat/outcomes.py", MASKING): "an answer of success may repeat the stream's id, and is given away whole",
    ("openfire/chat/connector.py", NOT_SENT): "a secret may be gone in the middle of several requests",
    ("openfire/stream/listener.py", STREAM): "it reads events: no jobs go that way",
    ("openfire/stream/check.py", STREAM): "it asks for a stream of events as the listener does",
}
"""What a file does all the same, and why."""


def folders() -> set[Path]:
    """Those of each kind, whether it is in the registry or not yet."""
    known = {ROOT.joinpath(*package.module.split(".")) for _, package, _ in registry.packages()}
    ours = {folder for folder in known if folder.is_dir() and not folder.is_relative_to(SERVERS)}
    return ours | {one for one in SERVERS.iterdir() if one.is_dir() and one.name not in NO_KINDS}


def place(file: Path) -> str:
    return str(file.relative_to(SERVERS if file.is_relative_to(SERVERS) else ROOT / "restbroker"))


def test_a_kind_masks_no_answer_has_no_shared_rung_opens_no_way_and_makes_no_bad_configuration_an_unsent_job() -> None:
    found = folders()
    assert ROOT / "restbroker" / "rosters" / "refresh" in found
    assert {folder.name for folder in found} >= {"ejabberd", "http", "mongooseim", "openfire", "prosody"}
    files = [file for folder in found for file in folder.rglob("*.py")]
    done = {(place(file), one) for file in files for one in doings(ast.parse(file.read_text("utf-8")))}
    assert done == EXCEPTIONS.keys()


NOT_SENT_ALL_THE_SAME: Final = (
    "except ConfigError as error:\n    raise NotSent(str(error)) from error",
    "except (ConfigError, OSError) as error:\n    raise NotSent(str(error)) from error",
    "except errors.ConfigError as error:\n    raise NotSent(str(error)) from error",
    "except RestbrokerError as error:\n    raise transport.errors.NotSent(str(error)) from error",
    "except ConfigError as error:\n    if g:\n        raise NotSent(str(error)) from error\n    raise",
    "except ConfigError as error:\n    failure = NotSent(str(error))\n    raise failure from error",
    "except ConfigError as error:\n    raise made(error) from error\ndef made(error):\n    return NotSent(str(error))",
    "except:\n    raise NotSent('no')",
)


@pytest.mark.parametrize(
    ("source", "one"),
    [
        ("from restbroker.servers.api.masked_text import mask_response", MASKING),
        ("from restbroker.servers.api import masked_text", MASKING),
        ("import restbroker.servers.api.masked_text as shown", MASKING),
        ("from restbroker import servers\ns = servers.api.masked_text.mask_response", MASKING),
        ("from restbroker.servers.api.answer import mask_response", MASKING),
        ("from restbroker.job import hiding\nx = hiding.mask_secrets(text, hiding.spellings_of(secrets))", MASKING),
        ("from restbroker.job.hiding import beginning", MASKING),
        ("from restbroker.job.hiding import *", MASKING),
        ("import restbroker.job.hiding as h\nx = h.MASK", MASKING),
        ("from restbroker.job.redact import MASK", MASKING),
        ('x = text.replace(secret, "***")', MASKING),
        ('x = body.replace(secret, b"***")', MASKING),
        ("from restbroker.transport.client import open_transport", CLIENT),
        ("from restbroker.transport.client import Client", CLIENT),
        ("from restbroker.transport import client", CLIENT),
        ("import restbroker.transport.client", CLIENT),
        ("from restbroker.servers.api.checks import open_transport", CLIENT),
        ("from restbroker.transport import stream\nx = stream.open_stream", STREAM),
        *((f"try:\n    pass\n{handler}", NOT_SENT) for handler in NOT_SENT_ALL_THE_SAME),
        (
            'x = {429: Rung("deferred", "ServerBusy", "", waits=True, how=HOW)}',
            FATE,
        ),
        ('x = Rung("deferred", "ServerBusy", "", "", True, BUSY)', FATE),
        ('x = {504: Rung("uncertain", "GatewayTimeout", "x", "It may have run.")}', FATE),
        (
            'from restbroker.servers.api import ladder\nx = ladder.Rung(code="Refused", hint="", fate="rejected")',
            FATE,
        ),
        ('x = {"3xx": Rung(either, "Redirected", "")}', FATE),
        ('match s:\n    case 502 | 413:\n        x = answer.rejected("Refused", "x")', FATE),
        (
            'match s:\n    case 500:\n        x = answer.deferred("ServerError", "x", waits=True, ran="maybe")',
            FATE,
        ),
    ],
)
def test_however_a_kind_writes_it_it_is_seen(source: str, one: str) -> None:
    assert one in set(doings(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "from restbroker.job import hiding\nx: hiding.Spellings = hiding.spellings_of(secrets)",
        "from restbroker.job import hiding\nx = hiding.login_spellings(response.request_pairs)",
        "from restbroker.transport.stream import EventStream, Frame",
        "from restbroker.transport.message import Transport",
        "try:\n    pass\nexcept ConfigError as error:\n    x = bad_login(target, error)",
        "try:\n    pass\nexcept (NotSent, MaybeSent) as error:\n    x = unreachable(target, error)",
        'x = {401: Rung("denied", "LoginRefused", "x")}',
        'x = {500: Rung("deferred", "ServerError", "", how={"max_attempts": 3})}',
        'match s:\n    case 409:\n        x = answer.rejected("AlreadyExists", "x")',
    ],
)
def test_what_is_a_kinds_own_is_not_taken_for_it(source: str) -> None:
    assert list(doings(ast.parse(source))) == []
