"""The odd payloads that real producers push, as raw text, and where each ends with restbroker and with Sidekiq 6.4.1.

Used by test_odd_payloads.py. `USER` in a payload stands for the name of the job, which is also its `user`: the server
answers by it. An end is "SET COUNT", with "retried" behind it if the job says when it was tried again; "lost" if the
job is nowhere any more.
"""

import json
from typing import Any, Final

import attrs

from tests.sidekiq.readers import JOB_WRAPPER
from tests.support.shared import TOKEN

COMMAND: Final = "check_account"
SCRIPT: Final = "<script>alert(1)</script>"
MISSING: Final = object()
"""As the value of a field: the payload has no such field."""
MADE_S: Final = 1_700_000_000.25


@attrs.frozen
class Row:
    """One payload. `ours`: where it ends if the server answers 500; `ruby`: where, if a Ruby worker fails.

    `sent`: the server gets it. `code`: the error_class of what is not sent. `jid`, `first_s` (its first failure):
    what the entry says, None for a new one, and now.
    """

    name: str
    payload: bytes
    ours: str = "retry 0"
    ruby: str = "retry 0"
    sent: bool = True
    code: str = "ServerError"
    jid: str | None = "USER"
    first_s: float | None = None

    def as_pushed(self, user: str) -> bytes:
        """The payload of the job that is named `user`."""
        return self.payload.replace(b"USER", user.encode())


def fields(**changed: Any) -> dict[str, Any]:
    """A job as Sidekiq 5 to 7 write it, but for what is changed."""
    plain = {
        "retry": True,
        "queue": "rest",
        "class": "Add",
        "args": [COMMAND, {"user": "USER"}, TOKEN],
        "jid": "USER",
        "created_at": MADE_S,
        "enqueued_at": MADE_S,
        "mark": "USER",
    }
    return {name: value for name, value in {**plain, **changed}.items() if value is not MISSING}


def job(**changed: Any) -> bytes:
    """Its JSON."""
    return json.dumps(fields(**changed), separators=(",", ":")).encode()


def plain_with(text: str) -> bytes:
    """A job with more fields, given as JSON text."""
    return job().removesuffix(b"}") + b"," + text.encode() + b"}"


def _row(name: str, ours: str = "retry 0", ruby: str | None = None, /, **changed: Any) -> Row:
    about = {key: changed.pop(key) for key in ("sent", "code", "first_s") if key in changed}
    return Row(name, job(**changed), ours, ours if ruby is None else ruby, **about)


_FAILED: Final = {"failed_at": MADE_S, "first_s": MADE_S}

RETRIES: Final = [
    _row("retry is missing", retry=MISSING),
    _row("retry is null", retry=None),
    _row('retry is "true"', retry="true"),
    _row('retry is "false"', retry="false"),
    _row('retry is "3"', retry="3"),
    _row("retry is 3.7", retry=3.7),
    _row("retry is a list", retry=[]),
    _row("retry is 25, as exq writes it", retry=25),
    _row("retry is -1", "dead 0", retry=-1),
    _row("retry is 0", "dead 0", retry=0),
    _row("retry is false", "dead 0", "lost", retry=False),
    _row("retry is missing and the class unknown", "retry 0", "lost", retry=MISSING, **{"class": "Nowhere"}),
    _row("retry_count is null", retry_count=None),
    _row("retry_count is 0 from the start, as exq writes it", "retry 0", "retry 1 retried", retry_count=0),
    _row("retry_count is 0 after a failure", "retry 1 retried", retry_count=0, **_FAILED),
    _row("retry_count is -1 after Sidekiq Web's Retry", "retry 0 retried", retry_count=-1, **_FAILED),
    _row("retry_count is -1 and nothing failed", "retry 0", "retry 0 retried", retry_count=-1),
    _row("retry_count is 1 from the start, as sidekiq-rs writes it", "retry 2 retried", retry_count=1),
    _row("retry_count is 23", "retry 24 retried", retry_count=23, **_FAILED),
    _row("retry_count is 24", "dead 25 retried", retry_count=24, **_FAILED),
    _row('retry_count is "2"', "retry 3 retried", "lost", retry_count="2", **_FAILED),
    _row("retry_count is true", "retry 0", "lost", retry_count=True),
    _row("retry_count is 2.0", "retry 3 retried", retry_count=2.0, **_FAILED),
    _row("retry is 0 and dead null", "dead 0", retry=0, dead=None),
    _row('retry is 0 and dead "false"', "dead 0", retry=0, dead="false"),
    _row("retry is 0 and dead false", "lost", retry=0, dead=False),
    _row("retry is 2 and retry_max 0, of go-workers2", retry=2, retry_max=0),
    _row("retry_for is an hour", retry_for=3600),
    _row("retry_for is over", "dead 2 retried", "retry 2 retried", retry_for=60, retry_count=1, **_FAILED),
    _row('retry_for is "60"', retry_for="60"),
    _row("retry_for is a list", retry_for=[60]),
    _row("retry_queue is another queue", retry_queue="slow"),
    _row("retry_queue is a number", retry_queue=5),
    _row("retry_queue is empty", retry_queue=""),
]

TIMES: Final = [
    _row(
        "failed_at is a date, as go-workers writes it",
        "retry 4 retried",
        failed_at="2023-11-14 22:13:20 UTC",
        retried_at="2023-11-14 23:13:20 UTC",
        retry_count=3,
        first_s=1_700_000_000.0,
    ),
    _row(
        "all times are milliseconds, as Sidekiq 8 writes them",
        "retry 3 retried",
        created_at=1_700_000_000_250,
        enqueued_at=1_700_000_000_250,
        failed_at=1_700_000_000_250,
        retried_at=1_700_000_000_250,
        retry_count=2,
        first_s=MADE_S,
    ),
    _row(
        "all times are whole seconds",
        "retry 3 retried",
        created_at=1_700_000_000,
        enqueued_at=1_700_000_000,
        failed_at=1_700_000_000,
        retried_at=1_700_000_000,
        retry_count=2,
        first_s=1_700_000_000.0,
    ),
    _row(
        "failed_at is a whole second with a point, as sidekiq-rs writes it",
        "retry 3 retried",
        retry_count=2,
        failed_at=1_700_000_000.0,
        first_s=1_700_000_000.0,
    ),
    _row("times are text", created_at=str(MADE_S), enqueued_at="2023-11-14T22:13:20Z"),
    _row("times are null", created_at=None, enqueued_at=None, failed_at=None, retried_at=None),
    _row("times are missing", created_at=MISSING, enqueued_at=MISSING),
    _row("times are objects", created_at={}, enqueued_at=[]),
    _row("times are negative and far away", created_at=-5, enqueued_at=1e300),
    _row("at is inside", at=4_000_000_000.5),
    _row("at is text", at="soon"),
]

FIELDS: Final = [
    attrs.evolve(_row("jid is missing", jid=MISSING), jid=None),
    attrs.evolve(_row("jid is null", jid=None), jid=None),
    attrs.evolve(_row("jid is empty", jid=""), jid=None),
    attrs.evolve(_row("jid is a number", jid=12345), jid=None),
    attrs.evolve(
        _row("jid is a UUID", jid="6f1f0f0e-4b1c-4f7e-9d3b-0a1b2c3d4e5f"), jid="6f1f0f0e-4b1c-4f7e-9d3b-0a1b2c3d4e5f"
    ),
    attrs.evolve(_row("jid is odd text", jid=" a/b?c#d\n\0é<☂>"), jid=" a/b?c#d\n\0é<☂>"),
    attrs.evolve(_row("jid is very long", jid="j" * 10_000), jid="j" * 10_000),
    _row("queue is missing", queue=MISSING),
    _row("queue is null", queue=None),
    _row("queue is another", queue="zzz"),
    _row("queue is a number", queue=7),
    _row("class is missing", **{"class": MISSING}),
    _row("class is null", **{"class": None}),
    _row("class is a number", **{"class": 5}),
    _row("class is unknown", **{"class": "Nowhere"}),
    _row("class is empty", **{"class": ""}),
    _row("tags is a list", tags=["a", 5, None, {"b": []}]),
    _row("tags is text", tags="a,b"),
    _row("tags is an object", tags={"a": 1}),
    _row("tags is null", tags=None),
    _row("backtrace is true", backtrace=True),
    _row("backtrace is 5", backtrace=5),
    _row("backtrace is an object", "retry 0", "lost", backtrace={}),
    _row("error_backtrace is a list, as sidekiq.cr writes it", error_backtrace=["a.cr:1", "b.cr:2"]),
    _row("error_backtrace is text that is none", error_backtrace="a.rb:1 in `b'"),
    _row("error_message is an object, error_class null", error_message={"a": 1}, error_class=None),
    _row("display_class is a list", display_class=["a"]),
    _row("wrapped is an object", wrapped={"a": 1}),
    _row("locale, cattr, bid and the like", locale="de", cattr={"a": {"b": 1}}, bid="b", profile="me"),
    _row(
        "expiry is far off, unique_for is set",
        expiry=4_000_000_000.25,
        expires_in=60,
        unique_for=60,
        unique_until="start",
    ),
    _row("encrypt is true", encrypt=True),
]

_CALL: Final = f'"{COMMAND}"'
_BODY: Final = '{"user":"USER"}'


def _raw(name: str, text: str, ours: str = "retry 0", ruby: str | None = None, /, **about: Any) -> Row:
    return Row(name, text.encode(), ours, ours if ruby is None else ruby, **about)


PRODUCERS: Final = [
    _raw(
        "PHP: escapes, times with a fraction, not to be retried",
        '{"class":"Add","args":["check_account",{"user":"USER","note":"a\\/b \\u00e9\\ud83d\\ude00"},'
        f'"{TOKEN}"],'
        '"retry":false,"queue":"rest","jid":"USER","created_at":1700000000.123,"enqueued_at":1700000000.124,"mark":"USER"}',
        "dead 0",
        "lost",
    ),
    _raw(
        "PHP: a time that happens to be whole",
        f'{{"class":"Add","args":[{_CALL},{_BODY},"{TOKEN}"],"retry":true,"queue":"rest","jid":"USER",'
        '"created_at":1700000000,"enqueued_at":1.7e9,"mark":"USER"}',
    ),
    _raw(
        "PHP: no arguments are an empty list",
        f'{{"class":"Add","args":["USER",[],"{TOKEN}"],"retry":true,"queue":"rest","jid":"USER",'
        '"created_at":1700000000.5,"enqueued_at":1700000000.5,"mark":"USER"}',
    ),
    _raw(
        "Node: neither queue, retry nor times",
        f'{{"class":"Add","args":[{_CALL},{_BODY},"{TOKEN}"],"jid":"USER","mark":"USER"}}',
    ),
    _raw(
        "Node: args are JSON text",
        json.dumps(
            {"class": "Add", "args": json.dumps([COMMAND, {"user": "USER"}, TOKEN]), "jid": "USER", "mark": "USER"}
        ),
    ),
    _raw(
        "Python: blanks, ASCII, whole seconds",
        json.dumps(fields(created_at=1_700_000_000, enqueued_at=1_700_000_000, note="é☂😀")),
    ),
    _raw(
        "go-workers: retry omitted, at inside",
        f'{{"queue":"rest","class":"Add","args":[{_CALL},{_BODY},"{TOKEN}"],"jid":"USER","enqueued_at":1700000000.1,'
        '"at":1700000000.1,"mark":"USER"}',
    ),
    _raw(
        "exq: every field, most of them null",
        f'{{"queue":"rest","retry":25,"processor":null,"jid":"USER","finished_at":null,"failed_at":null,"error_message":null,'
        f'"error_class":null,"enqueued_at":1700000000.5,"class":"Add","args":[{_CALL},{_BODY},"{TOKEN}"],"retry_count":0,'
        '"retried_at":null,"mark":"USER"}',
        "retry 0",
        "retry 1 retried",
    ),
    _raw(
        "sidekiq.cr: retry false, a list as backtrace",
        f'{{"class":"Add","args":[{_CALL},{_BODY},"{TOKEN}"],"queue":"rest","jid":"USER","created_at":1700000000.5,'
        '"enqueued_at":1700000000.5,"retry":false,"dead":true,"error_backtrace":["a.cr:1"],"mark":"USER"}',
        "dead 0",
        "lost",
    ),
    _raw(
        "sidekiq-rs: counts from 1, a text as retry, no first failure",
        f'{{"queue":"rest","args":[{_CALL},{_BODY},"{TOKEN}"],"retry":"true","class":"Add","jid":"USER",'
        '"created_at":1700000000.0,"enqueued_at":1700000000.0,"failed_at":null,"error_message":null,"error_class":null,'
        '"retry_count":1,"retried_at":null,"mark":"USER"}',
        "retry 2 retried",
    ),
    _raw("Sidekiq 8: whole milliseconds", job(created_at=1_700_000_000_250, enqueued_at=1_700_000_000_251).decode()),
]

# What Ruby writes in another way than most, also where a signature counts every argument.
_REWRITTEN: Final[dict[str, Any]] = {
    "floats": [1e15, 1.5e-7, -0.0, 1e300, 2.0],
    "large": [2**70, -(2**63)],
    "text": 'é/\u2028\U0001f600"\\\u007f',
    "none": [{}, [], None, ""],
}

TEXTS: Final = [
    _row("arguments of every kind", args=[COMMAND, {"user": "USER", **_REWRITTEN}, TOKEN]),
    _raw(
        "numbers beyond 64 bits",
        plain_with('"big":[9007199254740993,18446744073709551616,-123456789012345678901234567890]').decode(),
    ),
    _raw(
        "floats of every size", plain_with('"floats":[1e15,1.5E+300,1e-5,-0.0,0.1,1E0,123456789012345.6,1e16]').decode()
    ),
    _raw("NUL and other control characters, escaped", plain_with(r'"odd":"\u0000\u001f\u007f\u2028\b\f"').decode()),
    _raw("text beyond ASCII, and escaped pairs", plain_with('"odd":["é☂😀","\\ud83d\\ude00","\\/"]').decode()),
    _raw("a byte order mark", "\ufeff" + job().decode(), "retry 0", "raw in dead"),
    _raw("the same key twice: the last one counts", plain_with('"retry":0,"retry":"","jid":"x","jid":"USER"').decode()),
    _raw(
        "the same argument twice", job(args=[COMMAND, 0, TOKEN]).decode().replace(",0,", ',{"user":"x","user":"USER"},')
    ),
    _raw("empty keys and nested empties", plain_with('"":{"":[[],{},[{}]]}').decode()),
    _raw("100 levels deep", plain_with('"deep":' + "[" * 99 + "]" * 99).decode()),
    _raw("blanks and line breaks around", "\r\n\t " + json.dumps(fields(), indent=2) + "\n"),
    _raw("nearly 1 MiB", plain_with('"pad":"' + "x" * (1024 * 1024 - 400) + '"').decode()),
    _raw("grows when rewritten", plain_with('"pad":[' + "1e14," * 200_000 + "0]").decode()),
]

_ACTIVE_JOB: Final = {
    "job_class": "Mailer", "job_id": "x", "provider_job_id": None, "queue_name": "rest", "arguments": [1, {"a": 2}],
}  # fmt: skip


def _refused(name: str, /, **changed: Any) -> Row:
    return _row(name, "dead 0", "retry 0", sent=False, code="BadArguments", **changed)


REFUSED: Final = [
    _refused("args is an object", args={}),
    _refused("args is text", args="x"),
    _refused("args is a number", args=5),
    _refused("args is null", args=None),
    _refused("args is missing", args=MISSING),
    _refused("args is empty", args=[]),
    _refused("args is empty and encrypt true", args=[], encrypt=True),
    _refused("ActiveJob", args=[_ACTIVE_JOB], wrapped="Mailer", **{"class": JOB_WRAPPER}),
    _refused(
        "ActiveJob of Sidekiq 8", args=[_ACTIVE_JOB], wrapped="Mailer", **{"class": "Sidekiq::ActiveJob::Wrapper"}
    ),
    _refused("ActiveJob without args", args=[], wrapped="Mailer", **{"class": JOB_WRAPPER}),
    _refused("ActiveJob with a number as args", args=[5], wrapped="Mailer", **{"class": JOB_WRAPPER}),
    _refused(
        "ActionMailer without arguments", args=[{}], wrapped="ActionMailer::DeliveryJob", **{"class": JOB_WRAPPER}
    ),
    _refused(
        "ActionMailer with too few arguments",
        args=[{"arguments": [1]}],
        wrapped="ActionMailer::MailDeliveryJob",
        **{"class": JOB_WRAPPER},
    ),
    _refused("a delayed extension", args=["--- x"], **{"class": "Sidekiq::Extensions::DelayedClass"}),
    _refused("a delayed extension without args", args=[], **{"class": "Sidekiq::Extensions::DelayedMailer"}),
]

UNREADABLE: Final = {
    "no JSON": (b"{x", "raw in dead"),
    "nothing": (b"", "raw in dead"),
    "NUL": (b"\x00", "raw in dead"),
    "NUL inside": (b'{"class":"Add",\x00"args":[]}', "raw in dead"),
    "a number": (b"5", "lost"),
    "a list": (b"[1]", "lost"),
    "null": (b"null", "lost"),
    "true": (b"true", "lost"),
    "text": (b'"text"', "lost"),
    "not UTF-8": (plain_with('"odd":"LATIN"').replace(b"LATIN", b"\xff"), "lost"),
    "half a surrogate pair": (plain_with(r'"odd":"\ud800"'), "raw in dead"),
    "NaN": (plain_with('"odd":NaN'), "raw in dead"),
    "Infinity": (plain_with('"odd":-Infinity'), "raw in dead"),
    "a number beyond all doubles": (plain_with('"odd":1e400'), "lost"),
    "101 levels deep": (plain_with('"deep":' + "[" * 100 + "]" * 100), "raw in dead"),
    "two objects": (b"{} {}", "raw in dead"),
    "a comment": (job() + b"/* a comment */", "retry 0"),
    "an integer of 5,000 digits": (plain_with('"odd":' + "9" * 5000), "retry 0"),
    "more than 1 MiB": (plain_with('"pad":"' + "x" * 1024 * 1024 + '"'), "retry 0"),
}
"""Bytes that are no job for restbroker, and where they end with Sidekiq."""

DUE: Final = {
    "PHP": (job(at=MISSING), "works"),
    "Node: at inside": (job(at=1_700_000_000.5, enqueued_at=MISSING, retry=MISSING), "works"),
    "go-workers: at is text": (job(at="2023-11-14 22:13:20 UTC"), "works"),
    "Sidekiq 7: not enqueued yet": (job(enqueued_at=MISSING), "works"),
    "Node: neither queue nor retry": (job(queue=MISSING, retry=MISSING, at=1_700_000_000.5), "default"),
    "of another program": (job(queue="theirs", odd=1e15).replace(b",", b", "), "theirs"),
    "queue is null": (job(queue=None), "dead"),
    "no JSON": (b"{USER", "dead"),
    "a number": (b"5", "dead"),
    "a list": (b'["USER"]', "dead"),
}
"""What is due in `schedule`, and where it ends: delivered, in a queue of others (unchanged), or in the dead set."""

SHOWN: Final[dict[str, dict[str, Any]]] = {
    "failed_at an object": {"retry_count": 3, "failed_at": {}},
    "retried_at a word in a later retry": {"retry_count": 3, "failed_at": MADE_S, "retried_at": "now"},
    "no failed_at in a later retry": {"retry_count": 3, "retried_at": MADE_S},
    "created_at a word": {"created_at": "yesterday"},
    "enqueued_at true": {"enqueued_at": True},
    "times beyond every calendar": {"created_at": 1e300, "enqueued_at": -1e300},
    "queue an object": {"queue": {}},
    "tags of everything": {"tags": [None, 1, {}, SCRIPT]},
    "error_backtrace an empty text": {"error_backtrace": ""},
    # Deflated: an object, and a text.
    "error_backtrace an object": {"error_backtrace": "eJyrrgUAAXUA+Q=="},
    "error_backtrace one text": {"error_backtrace": "eJxTSlQCAAGZAKc="},
    "error_message null": {"retry_count": 1, "failed_at": MADE_S, "error_message": None},
    "error_class an object": {"error_message": {"a": 1}, "error_class": {}},
    "retry_count an object": {"retry_count": {}},
    "retry_count beyond every limit": {"retry_count": 10**30, "failed_at": MADE_S},
    "retry_for a text": {"retry_for": "1h"},
    "class an object": {"class": {}},
    "class one of Sidekiq's own": {"class": "Sidekiq::Extensions::DelayedClass"},
    "class ActiveJob's": {"class": JOB_WRAPPER},
    "class ActiveJob's, wrapping": {"class": JOB_WRAPPER, "wrapped": "Mailer"},
    "class ActiveJob's, wrapping a mail": {"class": JOB_WRAPPER, "wrapped": "ActionMailer::MailDeliveryJob"},
    "display_class an object": {"display_class": {}},
    "display_class a number": {"display_class": 5},
    "a field of every kind": {"odd": [None, True, 1e99, {"a": [SCRIPT]}, "\u0000\u202e☂"]},
}
"""Fields of jobs of which only this is claimed: restbroker keeps them, Ruby reads them, and every page opens."""

ROWS: Final = [*RETRIES, *TIMES, *FIELDS, *PRODUCERS, *TEXTS, *REFUSED]
