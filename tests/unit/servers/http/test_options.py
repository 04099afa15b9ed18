"""The options of a target of kind `http`: what they are read as, what cannot be used, and templates."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from restbroker.config.core import all_keys
from restbroker.config.mask import mask
from restbroker.job.json_types import Json
from restbroker.job.template import BadTemplate, parse_text
from restbroker.servers import registry
from restbroker.servers.api.table import InvalidArguments
from restbroker.servers.http import template
from restbroker.servers.http.catalogue import HttpSettings
from tests.unit.servers.conftest import Configured, Made, Problems, refused

SECRET = "whsec_" + "QUJD" * 10
CANARY = "c4n4ry-s3cr3t"


def test_configured_commands_are_the_whole_catalogue(made: Made) -> None:
    target = made({"Commands": {"add": {"Path": "users/{user}", "Query": {"q": "{mode}"}, "Body": {"n": "{n?}"}}}})
    catalogue = registry.catalogue_of(target, None)
    assert (catalogue.is_whole, catalogue.version, list(catalogue.commands)) == (True, "hook", ["add"])
    assert [argument.name for argument in catalogue.commands["add"].arguments] == ["user", "mode", "n"]
    assert registry.catalogue("http").commands == {}


def test_a_token_that_is_bound_to_hosts_may_ask_for_nothing(made: Made) -> None:
    rows: list[dict[str, Any]] = [{}, {"host": "a.example"}, {"user": "joe@b.example"}]
    for arguments in rows:
        target = made({"Commands": {"do": {"Path": "{host}/{user}"}}}, Domain="a.example")
        catalogue = registry.catalogue_of(target, None)
        found = refused(catalogue, "do", arguments, target.default_host, hosts=("a.example",))
        assert found is not None, arguments
        assert (found.code, found.hint) == ("HostNotAllowed", "Push with a token without Hosts."), arguments
        assert refused(catalogue, "do", arguments, target.default_host) is None, arguments


def test_secret_header_others_can_read_on_its_way_is_noted(configured: Configured) -> None:
    rows: list[tuple[str, dict[str, Any], bool]] = [
        ("http://api.example.org", {"X-Api-Key": "k"}, True),
        ("http://api.example.org", {"Accept": {"Env": "E"}}, True),
        ("http://api.example.org", {"Accept": "a/b"}, False),
        ("https://api.example.org", {"X-Api-Key": "k"}, False),
        ("http://127.0.0.1", {"X-Api-Key": "k"}, False),
    ]
    for url, headers, noted in rows:
        for options in ({"Commands": {"a": {}}, "Headers": headers}, {"Commands": {"a": {"Headers": headers}}}):
            codes = [note.code for note in configured(options, {"E": "x"}, URL=url).notes]
            assert codes == ["PlainLogin"] * noted, (url, headers)


def test_unusable_option_is_reported_with_its_place(problems: Problems) -> None:
    rows: list[tuple[dict[str, Any], str]] = [
        ({"Commands": {"a": {"Path": "x/{b"}}}, 'Commands.a.Path: has a "{" that belongs to no {name}; write "{{" for'),
        ({"Commands": {"a": {"Query": {"\ud800": ""}}}}, "Commands.a.Query.?: expected a name without blanks and"),
        ({"Commands": {"a": {"Body": [{"x": "{y z}"}]}}}, 'Commands.a.Body: has a "{" that belongs to no {name}'),
        ({"Commands": {"a": {"Method": "GET", "Body": {}}}}, "Commands.a.Body: is given, but GET has no body; set Enc"),
        ({"Commands": {"a": {"Encoding": "form", "Body": []}}}, "Commands.a.Body: must be an object where Encoding"),
    ]
    for options, problem in rows:
        (found,) = problems(options)
        assert found.startswith(problem), options


def test_secrets_of_files_variables_and_texts_are_not_shown(configured: Configured, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{CANARY}-1\n")
    options = {
        "Commands": {"a": {"Headers": {"X-Three": f"{CANARY}-3"}}},
        "Headers": {"X-One": {"File": "key"}, "X-Two": {"Env": "TWO"}},
        "SigningSecrets": [SECRET, {"Env": "SIGN"}],
    }
    loaded = configured(options, {"TWO": f"{CANARY}-2", "SIGN": SECRET + "QUJD"})
    settings = loaded.config.targets[0].options
    assert isinstance(settings, HttpSettings)
    assert [settings.headers[name].reveal() for name in ("x-one", "x-two")] == [f"{CANARY}-1", f"{CANARY}-2"]
    assert settings.recipes["a"].headers["x-three"].reveal() == f"{CANARY}-3"
    assert [secret.reveal() for secret in settings.signing] == [SECRET, SECRET + "QUJD"]
    assert CANARY not in repr(loaded)
    assert SECRET not in repr(loaded)
    written = json.loads((tmp_path / "env.json").read_text())["Targets"]
    shown = json.dumps(mask(all_keys()["Targets"], written, registry.kinds()))
    assert CANARY not in shown
    assert SECRET not in shown
    assert '{"File": "key"}' in shown
    assert '{"Env": "SIGN"}' in shown


def test_a_wrong_secret_is_not_quoted(problems: Problems) -> None:
    for wrong in (5, [CANARY], {"x": CANARY}, f"{CANARY}\n"):
        for options in ({"Headers": {"X": wrong}}, {"SigningSecrets": [wrong]}):
            assert CANARY not in "".join(problems({"Commands": {"a": {}}, **options})), wrong


def test_query_text_with_a_secrets_name_is_not_shown() -> None:
    query: Json = {"api_key": CANARY, "user": "{user}"}
    written: Json = {"one": {"Options": {"Commands": {"a": {"Query": query}}}}}
    shown = json.dumps(mask(all_keys()["Targets"], written, registry.kinds()))
    assert CANARY not in shown
    assert "{user}" in shown


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
def test_path_is_read_as_it_was_given(text: str) -> None:
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
def test_arguments_inside_a_text_are_texts_and_the_body_is_json(text: str, number: int, switch: bool) -> None:
    assume(not any("\ud800" <= c <= "\udfff" for c in text))
    parsed = template.parse_value('<{a}> {b} {c} {{"x"}}')
    filled = template.fill_value(parsed, {"a": text, "b": number, "c": switch})
    assert filled == f'<{text}> {number} {json.dumps(switch)} {{"x"}}'
    assert json.loads(json.dumps(filled)) == filled


def test_missing_argument_leaves_its_member_and_item_out() -> None:
    body = template.parse_value({"a": "{a?}", "b": ["{b?}", "x {c?}"], "d": "{d}"})
    assert template.fill_value(body, {"d": 1}) == {"b": [], "d": 1}
    assert template.fill_value(body, {"a": None, "b": 0, "c": "y", "d": 1}) == {"a": None, "b": [0, "x y"], "d": 1}
    query = {name: parse_text(text) for name, text in {"p": "{a?}", "q": "{b}", "r": "x{c?}"}.items()}
    assert template.fill_pairs(query, {"b": True}) == [("q", "true")]
    assert template.fill_pairs(query, {"a": 1.5, "b": ["x", 2], "c": 0}) == [
        ("p", "1.5"),
        ("q", "x"),
        ("q", "2"),
        ("r", "x0"),
    ]
    assert template.fill_pairs(query, {"b": None}) == []


def test_unfit_value_is_reported_with_the_name_of_the_argument() -> None:
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


def test_too_deeply_nested_body_is_reported() -> None:
    deep: Any = "{a}"
    for _ in range(900):
        deep = [deep]
    with pytest.raises(BadTemplate, match="nested more than 100 levels"):
        template.parse_value(deep)


def test_names_of_members_are_no_templates() -> None:
    assert template.fill_value(template.parse_value({"x": [None, 1, "a b"]}), {"a": 1}) == {"x": [None, 1, "a b"]}
    with pytest.raises(BadTemplate, match="member's name"):
        template.parse_value({"a": [{"{b}": 1}]})


def test_invalid_template_or_path_is_refused() -> None:
    for text in ["}", "a{", "{a}}", "{}", "{a b}", "{1a}", "{a??}", "{ü}"]:
        with pytest.raises(BadTemplate, match=r"belongs to no \{name\}"):
            parse_text(text)
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
