"""Templates: what a job fills in stays where it was put."""

import json
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from restbroker.servers.api.table import InvalidArguments
from restbroker.servers.http import template
from restbroker.servers.http.template import BadTemplate

scalars = st.text() | st.integers() | st.floats() | st.booleans()
values = st.recursive(
    st.none() | scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
nasty = st.sampled_from(
    ["..", ".", "", "/", "a/b", "..\\", "%2e%2e", "%2F", "?x=1", "#", " ", "\r\n", "a b", "é", "..;"]
)
PATHS = ["users/{a}", "{a}/x", "{a}{b}", "x.{a}", "{a}.{b}", "/v1/{a}/{b}", ".{a}", "%2e{a}", "{{{a}}}"]


@pytest.mark.promise("Security: who can push to the queues", "to leave the API's path, or to add a header")
@settings(max_examples=300)
@given(path=st.sampled_from(PATHS), a=nasty | values, b=nasty | values)
@example(path="{a}{b}", a=".", b=".")
@example(path="%2e{a}", a=".", b="")
def test_no_argument_changes_the_shape_of_a_path(path: str, a: Any, b: Any) -> None:
    try:
        filled = template.fill_path(template.parse_path(path), {"a": a, "b": b})
    except InvalidArguments:
        return
    assert filled.count("/") == len(path.removeprefix("/").split("/"))
    assert set(filled) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%/")
    for segment in filled.split("/")[1:]:
        assert unquote(segment).strip(" .")
        assert "/" not in unquote(segment)
        assert "\\" not in unquote(segment)


@given(st.text(min_size=1).filter(lambda text: text.strip(" .")))
def test_what_stands_in_a_path_is_read_as_it_was_given(text: str) -> None:
    try:
        filled = template.fill_path(template.parse_path("u/{a}"), {"a": text})
    except InvalidArguments:
        assert any(c in "/\\\x7f" or c < " " or "\ud800" <= c <= "\udfff" for c in text)
    else:
        assert unquote(filled) == f"/u/{text}"


@given(values)
def test_an_argument_alone_keeps_its_type_in_a_body(value: Any) -> None:
    filled = template.fill_value(template.parse_value({"x": ["{a}"], "y": {"z": "{a}"}}), {"a": value})
    assert repr(filled) == repr({"x": [value], "y": {"z": value}})


@given(st.text(), st.integers(), st.booleans())
def test_within_a_text_arguments_are_texts_and_the_body_stays_json(text: str, number: int, switch: bool) -> None:
    assume(not any("\ud800" <= c <= "\udfff" for c in text))
    parsed = template.parse_value('<{a}> {b} {c} {{"x"}}')
    filled = template.fill_value(parsed, {"a": text, "b": number, "c": switch})
    assert filled == f'<{text}> {number} {json.dumps(switch)} {{"x"}}'
    assert json.loads(json.dumps(filled)) == filled


def test_what_may_be_missing_leaves_its_member_and_its_item_out() -> None:
    body = template.parse_value({"a": "{a?}", "b": ["{b?}", "x {c?}"], "d": "{d}"})
    assert template.fill_value(body, {"d": 1}) == {"b": [], "d": 1}
    assert template.fill_value(body, {"a": None, "b": 0, "c": "y", "d": 1}) == {"a": None, "b": [0, "x y"], "d": 1}
    query = {name: template.parse_text(text) for name, text in {"p": "{a?}", "q": "{b}", "r": "x{c?}"}.items()}
    assert template.fill_pairs(query, {"b": True}) == [("q", "true")]
    assert template.fill_pairs(query, {"a": 1.5, "b": ["x", 2], "c": 0}) == [
        ("p", "1.5"),
        ("q", "x"),
        ("q", "2"),
        ("r", "x0"),
    ]
    assert template.fill_pairs(query, {"b": None}) == []


def test_what_does_not_fit_is_told_with_the_name_of_the_argument() -> None:
    rows: list[tuple[dict[str, Any], str]] = [
        ({}, 'the argument "a" is missing'),
        ({"a": {}}, 'the argument "a" is an object'),
        ({"a": None}, 'the argument "a" is null'),
        ({"a": "x/y"}, 'the argument "a" has a slash'),
        ({"a": ".."}, 'the argument "a" makes a part of the path that is empty or only dots'),
        ({"a": ""}, 'the argument "a" makes a part'),
        ({"a": "\ud800"}, 'the argument "a" has half of a character'),
        ({"a": 10**5000}, 'the argument "a" has thousands of digits'),
    ]
    for arguments, why in rows:
        with pytest.raises(InvalidArguments, match=why):
            template.fill_path(template.parse_path("x/{a}"), arguments)


def test_a_body_that_is_nested_too_deeply_is_told() -> None:
    deep: Any = "{a}"
    for _ in range(900):
        deep = [deep]
    with pytest.raises(BadTemplate, match="nested more than 100 levels"):
        template.parse_value(deep)


def test_names_of_members_are_no_templates() -> None:
    assert template.fill_value(template.parse_value({"x": [None, 1, "a b"]}), {"a": 1}) == {"x": [None, 1, "a b"]}
    with pytest.raises(BadTemplate, match="member's name"):
        template.parse_value({"a": [{"{b}": 1}]})


def test_what_is_no_template_or_no_path_is_refused() -> None:
    for text in ["}", "a{", "{a}}", "{}", "{a b}", "{1a}", "{a??}", "{ü}"]:
        with pytest.raises(BadTemplate, match=r"belongs to no \{name\}"):
            template.parse_text(text)
    for path, why in {
        "a?b=1": "not belong",
        "a\\b": "not belong",
        "a//b": "dots",
        "a/%2e%2e/b": "dots",
        "a/{b?}": "optional",
    }.items():
        with pytest.raises(BadTemplate, match=why):
            template.parse_path(path)
    paths = {"": "", "/": "/", "a/é/": "/a/%C3%A9/"}
    assert {text: template.fill_path(template.parse_path(text), {}) for text in paths} == paths
