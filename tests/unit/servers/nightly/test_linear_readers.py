"""What strangers write is read in a time that grows as its length does: a text of megabytes must not hold up a process.

Eight times the text may cost less than twenty times the CPU time of this process, the least of five: a cost that grows
as the square would be 64 times.
"""

import base64
import gc
import json
import time
from collections.abc import Callable
from contextlib import suppress

import httptools
import pytest

from restbroker.job import failure_group, hiding, redact, rubyjson
from restbroker.servers.api.table import InvalidArguments
from restbroker.servers.ejabberd import outcomes as ejabberd_answer
from restbroker.servers.mongooseim.sns.hook import read_notification
from restbroker.servers.openfire.stream.frames import FrameReader, read_data
from restbroker.servers.prosody import xml_stanza
from restbroker.serving.requests import BadRequest, Requests
from restbroker.transport.http1 import AnswerReader, MalformedAnswer
from restbroker.transport.message import Response
from restbroker.transport.stream import Frame

_SECRETS = hiding.spellings_of(["s3cret-of-the-server", "an/other+one"])
_HIDE = hiding.make_hide(["s3cret-of-the-server"], _SECRETS)


def _frames(name: str) -> Callable[[str], object]:
    def read(data: str) -> object:
        form = FrameReader("openfire", "ann", "example.org")
        return [form.read(Frame(name, data), 0.0) for _ in range(2)]

    return read


def _stanza(inner: str) -> str:
    xml = f'<message xmlns="jabber:client" from="eve@example.org" to="ann@example.org">{inner}</message>'
    return json.dumps({"xmpp": base64.b64encode(xml.encode()).decode()})


def _xml(text: str) -> object:
    return xml_stanza.members_of(text.encode())


def _form(text: str) -> object:
    return read_notification(text.encode())


def _request(head: str) -> object:
    requests = Requests()
    for start in range(0, len(head), 4096):
        requests.feed(head[start : start + 4096].encode())
    return requests.take()


def _answer(head: str) -> bool:
    reader = AnswerReader(1_000_000_000, is_head=False)
    return reader.feed(head.encode())


def _masked(text: str) -> object:
    return hiding.mask_secrets(text, _SECRETS), _HIDE(text, len(text)), failure_group.generalise(text[:100_000])


def _job(text: str) -> object:
    return redact.job({"class": "Add", "args": ["post", {"body": text}, "t0ken"], "error_message": text})


def _begun(text: str) -> object:
    return hiding.text(text, ["a" * 4_000])


def _levels(text: str) -> object:
    return rubyjson.nests_at_most(100, text.encode())


def _refusal(text: str) -> object:
    return ejabberd_answer.read(Response(400, {}, text.encode(), 0.0), ["a secret"])


def _page(text: str) -> object:
    return ejabberd_answer.read(Response(500, {"content-type": "text/html"}, text.encode(), 0.0))


READERS: list[tuple[str, Callable[[str], object], Callable[[int], str], int]] = [
    ("JSON: blanks before a letter", read_data, lambda n: '{"type": "chat", "body": ""' + " " * n + 'x"}', 8_000),
    ("JSON: line breaks at the end", read_data, lambda n: '{"type": "chat", "body": """}' + "\n" * n, 8_000),
    ("JSON: closing brackets", read_data, lambda n: '{"type": "chat", "body": """' + "} " * n + "x", 8_000),
    ("JSON: members again", read_data, lambda n: '{"type": "chat", "body": """' + ',"to": "' * n + '"}', 500),
    ("JSON: commas and blanks", read_data, lambda n: '{"type": "chat", "body": """' + ", " * n + '"}', 8_000),
    ("JSON: quotation marks", read_data, lambda n: '{"type": "chat", "body": "' + '\\"' * n + '""}', 8_000),
    ("JSON: arrays", read_data, lambda n: '{"type": "chat", "data": ' + "[" * n + "}", 8_000),
    ("frame: blanks", _frames("chatapi.notify"), lambda n: '{"type": "chat", "body": ""' + " " * n + 'x"}', 8_000),
    ("stanza: a body", _frames("chatapi.xmpp"), lambda n: _stanza(f"<body>{'&quot; ' * n}</body>"), 4_000),
    ("stanza: elements", _frames("chatapi.xmpp"), lambda n: _stanza("<body/>" * n), 2_000),
    ("stanza: attributes", _frames("chatapi.xmpp"), lambda n: _stanza(f"<x {_attributes(n)}/>"), 1_000),
    ("XML: depth", _xml, lambda n: f"<message>{'<a>' * n}{'</a>' * n}</message>", 4_000),
    ("XML: a body", _xml, lambda n: f"<message><body>{'&amp;' * n}</body></message>", 4_000),
    ("XML: a name without end", _xml, lambda n: "<message " + "a" * n, 40_000),
    ("form: pairs", _form, lambda n: "Type=Notification" + "&Message=%7B" * n, 2_000),
    ("form: percent signs", _form, lambda n: "Message=" + "%" * n, 8_000),
    ("head: a request's headers", _request, lambda n: "POST / HTTP/1.1\r\n" + "a: b\r\n" * n, 1_000),
    ("head: a request's path", _request, lambda n: f"GET /{'%' * n}", 40_000),
    ("head: an answer's headers", _answer, lambda n: "HTTP/1.1 200 OK\r\n" + "a: b\r\n" * n, 1_000),
    ("head: a long value", _answer, lambda n: "HTTP/1.1 200 OK\r\na: " + "\r\n b" * n, 500),
    ("masking: blanks", _masked, lambda n: "Basic" + " " * n + "x", 4_000),
    ("masking: half a secret", _masked, lambda n: "s3cret-of-the-" * n, 500),
    ("masking: base64", _masked, lambda n: "czNjcmV0" * n, 500),
    ("masking: a job's body", _job, lambda n: '"pass' * n, 1_000),
    ("masking: a job's pairs", _job, lambda n: "password=" * n, 500),
    ("masking: beginnings of a secret", _begun, lambda n: "a" * 10 * n + "b..." + "aaaaaaa..." * n, 100),
    ("levels of JSON", _levels, lambda n: "[" + "[]," * n + "[]]", 40_000),
    ("ejabberd: a refusal", _refusal, lambda n: '"' + "secret " * n, 10_000),
    ("page: headings without end", _page, lambda n: "<h1>" * n, 1_000),
    ("page: a tag without end", _page, lambda n: "<h1" + "<" * n, 4_000),
]


def _attributes(count: int) -> str:
    return " ".join(f'a{number}="b"' for number in range(count))


def _cpu_s(read: Callable[[str], object], text: str) -> float:
    """The least of five times: what else runs on the machine is not counted."""

    def once() -> float:
        began_s = time.process_time()
        with suppress(InvalidArguments, MalformedAnswer, BadRequest, ValueError, httptools.HttpParserError):
            read(text)
        return time.process_time() - began_s

    gc.disable()
    try:
        return min(once() for _ in range(5))
    finally:
        gc.enable()


@pytest.mark.parametrize(("read", "text_of", "size"), [case[1:] for case in READERS], ids=[case[0] for case in READERS])
def test_eight_times_the_text_costs_less_than_twenty_times(
    read: Callable[[str], object], text_of: Callable[[int], str], size: int
) -> None:
    assert _cpu_s(read, text_of(8 * size)) < 20 * max(_cpu_s(read, text_of(size)), 0.0001)
