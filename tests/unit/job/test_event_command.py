"""Arguments of a command, filled with what was posted: what is said, and what no sender can do with it."""

from collections.abc import Mapping
from typing import Any, Final
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job import event_command
from restbroker.job.command import ArgumentSpec, CommandSpec
from restbroker.job.event_command import LONGEST, MOST_BYTES, UnfitEvent
from restbroker.job.template import parse_text
from tests.support.rows import rows

SPEC: Final = CommandSpec(
    "tell",
    (
        ArgumentSpec("to", "string", host_source="jid"),
        ArgumentSpec("body", "string"),
        ArgumentSpec("subject", "string"),
        ArgumentSpec("id", "string", optional=True),
    ),
    "unsafe",
)


def fill_all(texts: Mapping[str, str], *, is_message: bool = True, **members: Any) -> Any:
    templates = {name: parse_text(text) for name, text in texts.items()}
    return event_command.fill(templates, SPEC, members, is_message=is_message)


def fill(name: str, text: str, **members: Any) -> Any:
    return fill_all({name: text}, **members).get(name)


@rows(
    ("text", "members", "said"),
    [
        ("{a}: {b}", {"a": "x", "b": "y"}, "x: y"),
        ("{a}: {b}", {"a": None, "b": 7}, ": 7"),
        ("{a}\n{b} {c}\nend", {"a": "x", "b": None, "c": {}}, "x\nend"),
        ("{a}\n{b} {c}\nend", {"b": True, "c": [1]}, "true \nend"),
        ("{a?}", {"a": None}, ""),
        ("{a}", {"a": "{b} {{c}}", "b": "no"}, "{b} {{c}}"),
        ("{a}", {"a": "\x1b[31mred\x1b[0m \x1b]0;t\x07\x00\x07\ufffe."}, "red ."),
        ("{a}", {"a": "\x1b]0;never ends\nx \x1b[38;5;"}, "0;never ends\nx 38;5;"),
        ("{a}", {"a": "cod\u202egpj.exe \u2066x\u2069 \ud800y"}, "codgpj.exe x y"),
        ("{a}", {"a": "x\r\ny\rz"}, "x\ny\nz"),
        ("{a}", {"a": "x" * (LONGEST + 1)}, f"{'x' * LONGEST}…"),
        (
            "<message><body>{a}</body></message>",
            {"a": "</body>&'\""},
            "<message><body>&lt;/body&gt;&amp;&apos;&quot;</body></message>",
        ),
        ("<m>\n<b>{a}\n{b}</b></m>", {"a": "x"}, "<m>\n<b>x\n</b></m>"),
        ("{{a}}", {}, "{a}"),
        ("", {}, ""),
    ],
)
def test_a_text_says_what_is_there(text: str, members: dict[str, Any], said: str) -> None:
    assert fill("body", text, **members) == said


@rows("name", ["html", "htmlBody", "stanza", "elementstring", "xml"])
def test_markup_is_never_posted(name: str) -> None:
    assert fill(name, "{a}", a="<b>&") == "&lt;b&gt;&amp;"


def test_what_may_be_missing_is_left_out() -> None:
    assert fill("id", "{a?}", a=None) is None
    assert event_command.fill({"id": None, "to": ["{a}"]}, SPEC, {"a": "x"}) == {"id": None, "to": ["{a}"]}


@rows("value", [None, "", " ", "\x00", {}, ["x"]])
def test_a_text_of_which_nothing_is_there_is_refused(value: object) -> None:
    with pytest.raises(UnfitEvent, match=r"^It has no a or b, of which the argument body is made\.$"):
        fill("body", "Alert: {a} {b?}", a=value)
    with pytest.raises(UnfitEvent, match=r"^It has no a, of which the argument to is made\.$"):
        fill("to", "{a?}@example.org", a=value)


@rows(
    "value",
    [
        *("x@y", "x/y", "x y", "x\ny", "<x>", "x'", 'x"', "x:y", "x\\y", "x&y"),
        *("x＠y", "x﹫y", "x／y", "x\u00a0y", "\u00ad", "x" * 256),
    ],
)
def test_an_address_takes_one_word(value: str) -> None:
    with pytest.raises(UnfitEvent, match="takes only a word") as refused:
        fill("to", "{a}@example.org", a=value)
    assert value not in refused.value.message.partition("any of")[0]


def size(*texts: str) -> int:
    return sum(len(escape(text, {'"': "&quot;", "'": "&apos;"}).encode()) for text in texts)


@rows(
    ("members", "kept"),
    [
        ({"a": "&" * 4000}, "Alert: &&&"),
        ({"a": "'" * 1400}, "''…"),
        ({"a": '"' * 2000, "b": "short"}, "…\nshort"),
        ({"a": "é" * 4000, "b": "<>" * 2000, "c": "\U0001f534" * 3000}, "\U0001f534…"),
        ({"a": "x" * 8000, "b": "y" * 8000, "c": "z" * 8000}, "xx…"),
    ],
)
def test_all_texts_together_fit_into_a_stanza(members: dict[str, Any], kept: str) -> None:
    """Cut at a character, with a sign there, and so that a short member stays whole."""
    said = fill_all({"subject": "{b?}", "body": "Alert: {a}\n{b}\n{c}", "to": "x@y"}, **members)
    assert MOST_BYTES - 60 <= size(said["subject"], said["body"]) <= MOST_BYTES
    assert kept in said["body"]
    assert "…" in said["body"]


def test_what_the_file_says_counts_and_stays() -> None:
    said = fill_all({"body": "&" * 1500 + "{a}"}, a="x" * 4000)["body"]
    assert said == "&" * 1500 + "x" * 497 + "…"
    stanza = fill_all({"stanza": "<m><body>&lt;{a}</body></m>"}, a="&" * 4000)["stanza"]
    fitting = (MOST_BYTES - len("<m><body>&lt;</body></m>") - len("…".encode())) // len("&amp;")
    assert ET.fromstring(stanza)[0].text == "<" + "&" * fitting + "…"  # noqa: S314  our own


def test_a_text_for_http_is_not_cut() -> None:
    assert fill_all({"body": "{a}"}, is_message=False, a="&" * 20_000) == {"body": "&" * 20_000}


POSTED: Final = st.none() | st.text() | st.integers() | st.lists(st.text()) | st.sampled_from(["&" * 3000, "é" * 4001])


@given(st.dictionaries(st.sampled_from("abc"), POSTED))
def test_whatever_is_posted_is_sent_or_refused(members: dict[str, Any]) -> None:
    try:
        said = fill_all({"body": "{a} {b}\n{c}", "stanza": "<m>{b} {c}</m>", "to": "{a}@example.org"}, **members)
    except UnfitEvent:
        return
    assert size(said["body"]) + len(said["stanza"].encode()) <= MOST_BYTES
    assert ET.fromstring(said["stanza"]).tag == "m"  # noqa: S314  the claim
    assert "\x1b" not in said["body"]
    assert (said["to"].count("@"), said["to"].endswith("@example.org")) == (1, True)
