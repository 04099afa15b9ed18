"""Messages in the shape of Slack, as programs post them (read in their code): one text, and Slack's answer.

One of everything that Slack shows is in tests/golden/data/documented.
"""

import json
import time
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from restbroker.job import event_command
from restbroker.job.command import CommandSpec
from restbroker.job.template import parse_text
from restbroker.servers.event_contract import HookRequest, MalformedEvent
from restbroker.servers.webhook.hook import PostHook
from restbroker.servers.webhook.options import Options
from tests.support.rows import rows

GITEA: Final[Any] = {
    "text": "[<https://g/a/b|a/b>] <https://g/c|2 new commits> pushed by ann",
    "attachments": [
        {"fallback": "", "title": "https://g/a/b", "text": "<https://g/1|bffe>: Fix &lt;it&gt; &amp; - Ann"}
    ],
}
GITEA_SAID: Final = """[a/b (https://g/a/b)] 2 new commits (https://g/c) pushed by ann
https://g/a/b
bffe (https://g/1): Fix <it> & - Ann"""
KUMA: Final[Any] = {
    "text": "Uptime Kuma Alert\n[T] Down",
    "attachments": [{"blocks": [{"type": "header", "text": {"text": "Uptime Kuma Alert\n[T] Down"}}]}],
}
HEALTHCHECKS: Final[Any] = {
    "attachments": [{"fallback": "x", "title": "Backup is DOWN.", "fields": [{"title": "Project", "value": "Home"}, 7]}]
}
JENKINS: Final[Any] = {
    "attachments": [{"fallback": "no", "fields": [{"short": False, "value": "app #7 (<http://j|Open>)"}]}]
}
BLOCKS: Final[Any] = {
    "blocks": [
        {"type": "section", "fields": [{"type": "mrkdwn", "text": "*app* <!here>"}, {"type": "mrkdwn", "text": "b"}]},
        {"type": "actions", "elements": [{"type": "button", "text": {"type": "plain_text", "text": "no"}}]},
        {"type": "section", "text": {"type": "mrkdwn", "text": " "}},
    ]
}
FORM: Final = "application/x-www-form-urlencoded"


def read(body: str, kind: str) -> str | None:
    posted = HookRequest("POST", "/s", b"/s", b"", {b"content-type": kind.encode()}, body.encode())
    return PostHook(Options(shape="slack")).read(posted, "s", 1.0).event.body


@rows(
    ("message", "said"),
    [
        ({"text": "hello"}, "hello"),
        (GITEA, GITEA_SAID),
        (KUMA, "Uptime Kuma Alert\n[T] Down"),
        (HEALTHCHECKS, "Backup is DOWN.\nProject: Home\n7"),
        (JENKINS, "app #7 (Open (http://j))"),
        (BLOCKS, "*app* @here\nb"),
        ({"text": "b\n\n *app* @here", **BLOCKS}, "*app* @here\nb"),
        ({"text": "b\nmore", **BLOCKS}, "b\nmore\n*app* @here\nb"),
        ({"text": "app", "attachments": [{"text": "app is down"}] * 2}, "app\napp is down\napp is down"),
        ({"text": {"type": "mrkdwn", "text": 0.5}, "blocks": {"type": "new", "title": False}}, "0.5\nfalse"),
        ({"attachments": [{"fields": [{"title": "t", "value": [1, {"x": 2}]}, {"value": {}}]}]}, 't: 1, {"x":2}'),
        ({"attachments": [{"blocks": [{"type": "actions"}], "fallback": "f", "ts": 1}]}, "f"),
        ({"blocks": [{"type": "rich_text", "elements": [{"text": 5}, {"type": "user", "user_id": None}]}]}, "5"),
        (
            {"text": "<!date^1^{date}^https://g|noon>, <!date^1^{date}|1 Jan>, <!subteam^S1>"},
            "noon (https://g), 1 Jan, @S1",
        ),
        ({"attachments": [7, {"fallback": "f"}, {"pretext": "p"}]}, "f\np"),
        (
            {"text": "<@U1|ann> in <#C1|dev> <https://g> <https://g|https://g> <>"},
            "@ann in #dev https://g https://g <>",
        ),
        ({"text": "free < 5 % & load > 9, <none> <a@b> &lt;"}, "free < 5 % & load > 9, <none> <a@b> <"),
        ({"text": "by <https://g/1 | the rule>"}, "by the rule (https://g/1)"),
        ({"attachments": [{"title": "t", "title_link": "https://g/1"}]}, "t (https://g/1)"),
        ({"attachments": [{"title": "https://g", "title_link": "https://g"}]}, "https://g"),
        ({"text": None, "attachments": "x", "blocks": 1}, None),
    ],
)
def test_a_message_is_one_text(message: object, said: str | None) -> None:
    """As JSON of any type, since some programs name none, or as a form."""
    written = json.dumps(message)
    for kind in ("application/json", "text/plain", "application/octet-stream", FORM):
        assert read(f" {written}", kind) == said
    assert read(urlencode({"channel": "#x", "payload": written}), FORM) == said


@rows(
    ("body", "why"),
    [
        ("", "not in Slack's shape: JSON, or a form's field payload, with text or attachments or blocks"),
        ("hello", "not in Slack's shape"),
        ("payload=", "not in Slack's shape"),
        ("{}", "not in Slack's shape"),
        ('[{"text": "t"}]', "not in Slack's shape"),
        ('{"status": "firing", "alerts": []}', "not in Slack's shape"),
        ("payload=x", "not JSON"),
        ("{", "not JSON"),
        ("payload=%7B", "not JSON"),
    ],
)
def test_what_is_no_message_is_refused(body: str, why: str) -> None:
    with pytest.raises(MalformedEvent, match=f"it is {why}"):
        read(body, FORM)


@rows(
    "message",
    [
        {"text": "<a" * 500_000},
        {"text": "<" + "a|" * 500_000},
        {"text": "\x1b]" * 150_000 + "\x1b[" * 150_000 + "&" * 100_000},
        {"attachments": [{"title": "t", "fields": [{"title": "<a|b>"}]}] * 20_000},
        {"blocks": [{"text": {"text": "x"}}] * 30_000},
        {"attachments": [{"title": ["x"] * 100_000, "title_link": "y" * 500_000}]},
        {"text": [[0] * 1000] * 350},
        {"blocks": [{"type": "rich_text", "elements": [{"elements": [{"text": "x"}] * 70_000}]}]},
    ],
)
def test_a_post_costs_what_its_size_costs(message: object) -> None:
    """As large as one may be: a third of a second on a slow machine, and no more than a stanza holds is said."""
    began_s = time.thread_time()
    text = read(json.dumps(message), "application/json")
    said = event_command.fill({"body": parse_text("{body}")}, CommandSpec("tell", (), "unsafe"), {"body": text})["body"]
    assert time.thread_time() - began_s < 2
    assert 0 < len(str(said).encode()) <= event_command.MOST_BYTES


def test_it_is_answered_as_slack_answers() -> None:
    answer = PostHook(Options(shape="slack")).answers.accepted()
    assert (answer.status, answer.body, answer.content_type) == (200, b"ok", "text/plain")
