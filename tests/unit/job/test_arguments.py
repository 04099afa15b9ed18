"""Every shape in which producers write `args` is read as one and the same submission, or refused by name."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job import arguments
from restbroker.job.arguments import Submission
from restbroker.job.command import ArgumentSpec, Command, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.outcome import Reason
from tests.support.rows import rows

WANTED: dict[str, Json] = {"user": "richard", "days": 30}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


def submission(args: Json) -> Submission:
    read = arguments.read(args)
    assert isinstance(read, Submission), read
    return read


def refusal(args: Json) -> Reason:
    read = arguments.read(args)
    assert isinstance(read, Reason), read
    return read


@pytest.mark.promise("Defects of the Go original", "pairs of arguments were sent as pairs")
@pytest.mark.promise("Producers: jobs", "each form of the arguments means the same")
@rows(("producer", "shape"), [
    ("an object, as Ruby and PHP push it", dict(WANTED)),
    ("pairs, as the original's README asks for", [["user", "richard"], ["days", 30]]),
    ("one-key objects", [{"user": "richard"}, {"days": 30}]),
    ("JSON text, as the original's last revision needs it", json.dumps(WANTED)),
    ("JSON text of pairs", json.dumps([["user", "richard"], ["days", 30]])),
])  # fmt: skip
def test_every_argument_shape_gives_the_same_command(producer: str, shape: Json) -> None:
    assert submission(["cmd", shape, "t"]).command == Command("cmd", WANTED), producer


@rows("nothing", [None, [], {}, "[]", "{}", "null"])
def test_no_arguments_may_be_written_in_many_ways(nothing: Json) -> None:
    assert submission(["cmd", nothing, "t"]).command.arguments == {}


@pytest.mark.promise("Producers: jobs", "a reply id comes back unchanged")
@rows("reply_id", [None, ""])
def test_a_null_or_empty_fourth_element_asks_for_no_reply(reply_id: Json) -> None:
    assert submission(["cmd", {}, "t", reply_id]).reply_id is None


@pytest.mark.promise("Defects of the Go original", "without a reply id nothing was sent")
def test_a_missing_fourth_element_asks_for_no_reply() -> None:
    assert submission(["cmd", {}, "t"]).reply_id is None


@pytest.mark.promise("Producers: jobs", "a reply id comes back unchanged")
@rows("reply_id", ["abc", 42, 0, 1.5])
def test_a_text_or_number_is_a_reply_id_and_passes_unchanged(reply_id: str | float) -> None:
    assert submission(["cmd", {}, "t", reply_id]).reply_id == reply_id


@pytest.mark.promise("Producers: jobs", "a reply id comes back unchanged")
@rows("reply_id", [True, [], {}])
def test_any_other_reply_id_is_refused(reply_id: Json) -> None:
    refused = refusal(["cmd", {}, "t", reply_id])
    assert refused.code == "BadReplyId"
    assert "Give a string or a number" in (refused.hint or "")


@pytest.mark.promise("Producers: jobs", "args may be the JSON text of a list")
def test_a_fifth_element_is_ignored() -> None:
    assert submission(["cmd", {}, "t", "id", "more"]).reply_id == "id"


@pytest.mark.promise("Producers: jobs", "args may be the JSON text of a list")
def test_args_may_be_the_json_text_of_a_list() -> None:
    assert submission(json.dumps(["cmd", WANTED, "t"])).command == Command("cmd", WANTED)


@rows(("args", "found"), [
    (None, "null"),
    ({}, "an object"),
    ("x", "a string"),
    (7, "a number"),
    ([], "0 elements: a job needs at least 3"),
    (["cmd"], "1 element: a job needs at least 3"),
    (["cmd", {}], "2 elements: its third element, the token, is missing"),
    ([5, {}, "t"], "is a number, not a string"),
    ([None, {}, "t"], "is null, not a string"),
    ([True, {}, "t"], "is a boolean, not a string"),
    ([{}, {}, "t"], "is an object, not a string"),
    ([[], {}, "t"], "is a list, not a string"),
    (["cmd", {}, "t", []], "is a list"),
    (["cmd", 5, "t"], "a number"),
    (["cmd", "no json", "t"], "not JSON"),
    (["cmd", "5", "t"], "not JSON of an object or list"),
    (["cmd", [1], "t"], "Entry 1"),
    (["cmd", [["a", 1, 2]], "t"], "a list"),
    (["cmd", [{"a": 1, "b": 2}], "t"], "an object"),
    (["cmd", [["a", 1], ["a", 2]], "t"], "'a' twice"),
    (["cmd", [["a" * 81, 1], ["a" * 81, 2]], "t"], "names (of 81 characters) twice"),
])  # fmt: skip
def test_refusal_names_the_value_found(args: Json, found: str) -> None:
    reason = refusal(args)
    assert reason.code in {"BadArguments", "BadEndpoint", "BadReplyId"}
    assert found in reason.message
    assert reason.hint


@pytest.mark.promise("Producers: jobs", "an ActiveJob wrapper of another form is dead as BadArguments")
def test_an_activejob_wrapper_is_refused_by_name() -> None:
    refused = refusal([{"job_class": "MyJob", "arguments": []}])
    assert refused.code == "BadArguments"
    assert "ActiveJob" in refused.message
    assert "[command, arguments, token]" in (refused.hint or "")


@pytest.mark.promise("Defects of the Go original", "a command could leave the API")
@pytest.mark.promise("Security: who can push to the queues", "to leave the API's path, or to add a header")
@pytest.mark.promise("Producers: jobs", "an endpoint cannot leave the API")
@rows("endpoint", [
    "",
    "/lead",
    "a//b",
    "../../admin/x?y=1#f",
    "a/../b",
    "..",
    "a?b",
    "a#b",
    "a b",
    "a\nb",
    "ü",
    "http://x/y",
    "%2e%2e",
])  # fmt: skip
def test_an_endpoint_that_could_leave_the_api_is_refused(endpoint: str) -> None:
    assert refusal([endpoint, {}, "t"]).code == "BadEndpoint"


@given(json_values)
def test_reading_never_raises_whatever_is_in_args(args: Json) -> None:
    assert isinstance(arguments.read(args), Submission | Reason)


@pytest.mark.promise("Producers: jobs", "each form of the arguments means the same")
@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5))
def test_values_pass_unchanged_in_every_shape(wanted: dict[str, Json]) -> None:
    as_pairs: Json = [[key, value] for key, value in wanted.items()]
    as_objects: Json = [{key: value} for key, value in wanted.items()]
    for shape in (wanted, as_pairs, as_objects):
        assert submission(["cmd", shape, "t"]).command.arguments == wanted


@pytest.mark.promise("Producers: jobs", "an endpoint cannot leave the API")
@given(st.text(alphabet="aZ9_.~-/é?%\n", max_size=12))
def test_an_endpoint_is_read_if_each_of_its_segments_is_plain(endpoint: str) -> None:
    plain = all(re.fullmatch(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*", segment) for segment in endpoint.split("/"))
    found = arguments.read([endpoint, {}, "t"])
    assert (isinstance(found, Submission) and found.command.endpoint == endpoint) == plain


@rows(("args", "token", "reply_id"), [
    (["../x", 5, "t", "r"], "t", "r"),
    ('["../x", 5, "t", 7]', "t", 7),
    (["x", {}, "t", ["no id"]], "t", None),
    (["x", {}, "t"], None, None),
    ({"x": 1}, None, None),
    ("not JSON", None, None),
])  # fmt: skip
def test_token_and_reply_id_are_read_from_unreadable_args(args: Json, token: Json, reply_id: Json) -> None:
    assert arguments.token_and_reply_id(args) == (token, reply_id)


def test_quoted_endpoint_has_no_secret() -> None:
    reason = arguments.read(["s3cret/ x", {}, "t"], lambda text, limit: text.replace("s3cret", "[hidden]")[:limit])
    assert isinstance(reason, Reason)
    assert "s3cret" not in reason.text


REFRESH = CommandSpec("refresh", (ArgumentSpec("users", "list", element="string"),), "safe", bare="users")


@pytest.mark.promise("Producers: jobs", "a list alone is for a command of one list")
@rows("shape", [["john", "aaron"], '["john", "aaron"]'])
def test_bare_list_of_texts_is_the_argument_the_command_names(shape: Json) -> None:
    read = submission(["refresh", shape, "t", "id"])
    named = arguments.name_bare_list(read, REFRESH)
    assert isinstance(named, Submission)
    assert named.command == Command("refresh", {"users": ["john", "aaron"]})
    assert (named.token, named.reply_id, named.is_bare) == ("t", "id", False)


@pytest.mark.promise("Producers: jobs", "a list alone is for a command of one list")
@rows("spec", [None, CommandSpec("register", (), "safe")])
def test_a_bare_list_is_refused_where_the_command_takes_none(spec: CommandSpec | None) -> None:
    refused = arguments.name_bare_list(submission(["register", ["john"], "t"]), spec)
    assert isinstance(refused, Reason)
    assert refused.message.startswith("Entry 1 of the argument list is a string")


def test_arguments_by_name_pass_through_naming_unchanged() -> None:
    read = submission(["refresh", {"users": ["john"]}, "t"])
    assert arguments.name_bare_list(read, REFRESH) is read
