"""What Sidekiq Web gets to see of a job: small, always readable, without secrets."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job import display, hiding, rubyjson
from restbroker.job.command import ArgumentSpec, CommandSpec
from restbroker.job.hiding import MASK
from restbroker.job.json_types import Json
from tests.support.rows import rows
from tests.support.stack import little_room

TOKEN = "t0ken-of-the-app"
PASSWORD = "hunter2-hunter2"
SECRET_PIN = "4711-0815"
texts = st.text(max_size=12) | st.sampled_from([TOKEN, f"x{TOKEN}y", f"a {TOKEN}", PASSWORD, f"({PASSWORD})"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(texts, inner, max_size=6),
    max_leaves=12,
)
names = st.sampled_from(
    [
        *("class", "display_class", "args", "jid", "queue", "retry", "retry_count", "tags", "created_at"),
        *("enqueued_at", "failed_at", "error_message", "error_class", "other", "at", "dead", "error_backtrace"),
    ]
)
args = st.tuples(
    values, st.dictionaries(texts, values, max_size=4).map(lambda given: {"password": PASSWORD, **given}), values
).map(list)
payloads = st.dictionaries(names, values, max_size=8).flatmap(
    lambda fields: st.one_of(
        st.just(fields),
        args.map(lambda given: {**fields, "args": given}),
        args.map(lambda given: {**fields, "args": json.dumps(given)}),
    )
)


def shown(fields: dict[str, Json], command: str = "safe", **options: Any) -> dict[str, Any]:
    raw = display.payload(fields, command, "rest", hiding.spellings_of((TOKEN,)), **options)
    found = json.loads(raw)
    assert isinstance(found, dict)
    return found


@given(payloads, texts, texts)
def test_shown_job_is_small_readable_and_without_token(fields: dict[str, Json], command: str, queue: str) -> None:
    """This holds whatever the job is made of."""
    raw = display.payload(fields, command, queue, hiding.spellings_of((TOKEN, "")))
    assert rubyjson.dumps(rubyjson.loads(raw)) == raw
    assert len(raw) <= display.LIMIT_BYTES
    assert TOKEN.encode() not in raw


@given(args, texts, payloads)
def test_a_password_argument_is_masked_in_every_field(
    given_args: list[Json], text: str, fields: dict[str, Json]
) -> None:
    raw = display.payload({**fields, "args": given_args, "class": text, "jid": text}, text, "rest", frozenset())
    assert PASSWORD.encode() not in raw


@rows(
    "given_arguments",
    [
        {"pin": SECRET_PIN, "user": "bob"},
        json.dumps([["code", SECRET_PIN]]),
        {"pin": SECRET_PIN, "note": f"it is {SECRET_PIN}"},
    ],
)
def test_secret_of_the_catalogue_is_masked_in_any_argument_form(given_arguments: Json) -> None:
    spec = CommandSpec("set", (ArgumentSpec("pin", "string", secret=True, aliases=("code",)),), "safe")
    fields: dict[str, Json] = {"args": ["set", given_arguments, "t"], "error_message": f"no {SECRET_PIN}", "tags": []}
    raw = display.payload(fields, "set", "rest", frozenset(), spec, show_bodies=True)
    assert SECRET_PIN.encode() not in raw
    assert b"***" in raw


@given(payloads)
def test_every_field_is_as_each_version_of_sidekiq_reads_it(fields: dict[str, Json]) -> None:
    found = shown(fields)
    assert isinstance(found["class"], str)
    assert isinstance(found["args"], list)
    assert all(isinstance(tag, str) for tag in found.get("tags", []))
    assert all(isinstance(found.get(name, ""), str) for name in ("jid", "display_class", "error_message"))
    times = ("created_at", "enqueued_at", "failed_at", "retried_at")
    assert all(isinstance(found.get(name, 0.5), float) for name in times)
    assert isinstance(found["retry"], bool | int)
    assert isinstance(found.get("retry_count", 0), int)


@given(payloads, st.text("<script>/x", max_size=20))
def test_no_name_is_markup_which_sidekiq_web_would_run(fields: dict[str, Json], text: str) -> None:
    tainted: dict[str, Json] = {**fields, "class": text, "display_class": text, "jid": text, "tags": [text]}
    found = shown(tainted, command=text)
    names = [found["class"], found.get("display_class", ""), found["jid"], found["queue"], *found["tags"]]
    assert not [name for name in names if "<" in name or ">" in name]
    assert display.with_command_name({"display_class": "<b>x</b>"}, "register")["display_class"] == "register"


def test_ordinary_job_is_shown_with_command_and_masked_secrets() -> None:
    fields: dict[str, Json] = {
        "class": "Add",
        "jid": "a" * 24,
        "queue": "elsewhere",
        "args": ["register", {"user": "bob", "password": PASSWORD, "body": "hello"}, TOKEN, "order-7"],
        "retry": 5,
        "retry_count": 1,
        "failed_at": 1_700_000_000.5,
        "error_message": f"no {PASSWORD} for {TOKEN}",
        "created_at": 1_700_000_000,
        "tags": ["night"],
        "cattr": {"secret": "x"},
    }
    assert shown(fields, "register") == {
        "class": "Add",
        "display_class": "register",
        "jid": "a" * 24,
        "queue": "rest",
        "args": ["register", {"user": "bob", "password": MASK, "body": MASK}, MASK, "order-7"],
        "retry": 5,
        "retry_count": 1,
        "failed_at": 1_700_000_000.5,
        "error_message": f"no {MASK} for {MASK}",
        "created_at": 1_700_000_000.0000005,
        "tags": ["night"],
    }
    assert shown(fields, "register", show_bodies=True)["args"][1]["body"] == "hello"


def test_words_shared_with_a_text_holding_a_password_are_shown() -> None:
    stanza = "<register user='bobby@example.org' password='hunter22'/>"
    given_arguments: dict[str, Json] = {"register_as": "bobby@example.org", "register_to": "a", "stanza": stanza}
    fields: dict[str, Json] = {"args": ["register", given_arguments, "t"], "error_message": "register: not hunter22"}
    found = shown(fields, "register", show_bodies=True)
    assert found["args"] == ["register", {**given_arguments, "stanza": MASK}, MASK]
    assert (found["display_class"], "hunter22" in found["error_message"]) == ("register", False)


def test_a_job_that_was_not_read_yet_is_named_by_its_args() -> None:
    assert shown({"args": ["kick_user", "nonsense"]}, command="")["display_class"] == "kick_user"
    assert "display_class" not in shown({"args": [{"job_class": "X"}]}, command="")


@rows(
    "many",
    [
        {"x": "ü" * 1_000_000},
        {f"n{number}": "y" * 5000 for number in range(200)},
        [["name", "x" * 9000]] * 500,
        {"x" * 9000: "s3cret-s3cret"},
        {f"password{number}": f"s3cret-s3cret{number}" for number in range(1000)},
    ],
)
def test_large_arguments_are_cut(many: Json) -> None:
    fields: dict[str, Json] = {"class": "Add", "args": ["register", many, TOKEN], "error_message": "ü" * 10_000}
    raw = display.payload(fields, "register", "rest", hiding.spellings_of((TOKEN,)))
    assert len(raw) <= display.LIMIT_BYTES
    assert json.loads(raw)["display_class"] == "register"
    assert b"s3cret" not in raw


def test_a_number_that_is_the_token_is_masked() -> None:
    found = json.loads(
        display.payload({"args": ["x", {"n": 123456789}, "-"]}, "x", "q", hiding.spellings_of(("123456789",)))
    )
    assert found["args"][1] == {"n": MASK}


@rows("name", ["Sidekiq::Extensions::DelayedMailer", "ActiveJob::QueueAdapters::X::JobWrapper"])
def test_classes_unwrapped_by_sidekiq_are_not_shown_as_such(name: str) -> None:
    assert shown({"class": name, "args": ["--- !ruby/object:X {}"]})["class"] == "Restbroker::Job"


@rows(
    ("given_args", "command"),
    [
        (["register", {}, "t"], "register"),
        ('["register/v1", {}, "t"]', "register/v1"),
        (["register"], "register"),
        ([{"job_class": "X"}], None),
        (["../x", {}, "t"], None),
        ([], None),
        ("{", None),
        (None, None),
    ],
)
def test_command_is_found_in_args_of_any_form(given_args: Json, command: str | None) -> None:
    assert display.command_of({"args": given_args}) == command


def test_payload_is_named_by_its_command_unless_by_its_producer() -> None:
    assert display.with_command_name({"a": 1}, "register") == {"a": 1, "display_class": "register"}
    assert display.with_command_name({"display_class": ""}, "register") == {"display_class": "register"}
    assert display.with_command_name({"display_class": "Mine"}, "register") == {"display_class": "Mine"}
    assert display.with_command_name({"a": 1}, None) == {"a": 1}


@rows("levels", [90, 97, 98, 99, 100])
def test_arguments_as_text_of_any_depth_are_shown_or_left_out(levels: int) -> None:
    nested = '{"user":"bob","x":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"
    assert shown({"class": "Add", "args": ["safe", nested, TOKEN]})["display_class"] == "safe"


def test_job_with_long_secrets_shows_only_its_command_and_times() -> None:
    fields: dict[str, Json] = {"class": "Add", "args": ["safe", {"password": "p!&" * 2000}, TOKEN], "created_at": 1.5}
    found = shown(fields)
    assert (found["display_class"], found["args"], found["created_at"]) == ("safe", [MASK], 1.5)


def test_job_with_many_secrets_shows_masked_command_and_queue() -> None:
    secrets: dict[str, Json] = {f"password{number}": f"s3cret-s3cret{number}" for number in range(1000)}
    found = shown({"class": "Add", "args": ["safe", secrets, TOKEN]}, command=f"safe {TOKEN} " + "x" * 100)
    assert set(found) == {"class", "display_class", "queue", "args", "retry"}
    assert (found["class"], found["queue"], found["args"]) == ("Restbroker::Job", "rest", [MASK])
    assert found["display_class"].startswith(f"safe {MASK} xxx")
    assert len(found["display_class"]) <= 41
    long = json.loads(display.minimal_payload({}, "c", "q" * 100, frozenset()))
    assert len(long["queue"]) <= 41


def test_dead_bytes_that_are_no_job_name_no_command() -> None:
    assert display.command_of({"class": "Restbroker::Unreadable", "args": ["register"]}) is None


def lists(levels: int, value: Json = 1) -> Json:
    for _ in range(levels):
        value = [value]
    return value


def objects(levels: int, value: Json = 1) -> Json:
    for _ in range(levels):
        value = {"a": value}
    return value


@rows(("given_value", "expected"), [
    (list(range(20)), list(range(20))),
    (list(range(21)), [*range(20), "… (1 more)"]),
    (list(range(30)), [*range(20), "… (10 more)"]),
    ({str(n): n for n in range(20)}, {str(n): n for n in range(20)}),
    ({str(n): n for n in range(21)}, {**{str(n): n for n in range(20)}, "…": "(1 more)"}),
    (lists(6), lists(6)),
    (lists(7), lists(6, "…")),
    (objects(6), objects(6)),
    (objects(7), objects(6, "…")),
    ([[[[[[[]]]]]]], [[[[[[[]]]]]]]),
    (["y" * 8193], ["… (8193 characters)"]),
    ([10**20, 10**20 + 1, -(10**20) - 1], [10**20, "…", "…"]),
])  # fmt: skip
def test_long_arguments_are_shown_in_part_and_the_rest_mentioned(given_value: Json, expected: Json) -> None:
    assert shown({"args": ["safe", {"x": given_value}, TOKEN]})["args"][1] == {"x": expected}


def test_a_long_text_is_shown_up_to_its_limit() -> None:
    found = shown({"args": ["safe", {"x": "y" * 8192}, TOKEN]})["args"][1]["x"]
    assert found.startswith("y" * 299)
    assert len(found) <= 301


@rows(("given_retry", "expected"), [(True, True), (False, False), (7, 7), (10**9, 1_000_000), ("x", 25)])
def test_retries_of_a_job_are_shown_as_its_producer_wrote_them(given_retry: Json, expected: Json) -> None:
    found = shown({"args": ["safe"], "retry": given_retry})["retry"]
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
def test_a_name_that_is_cut_away_still_says_what_is_secret() -> None:
    field: Json = {"attr": [[[[[{"var": "password"}]]]]], "text": "Pa5s-word"}
    raw = display.payload({"args": ["safe", {"a": {"b": {"c": field}}}, TOKEN]}, "safe", "q", frozenset())
    assert "Pa5s" not in raw.decode()


def test_unshowable_job_has_a_line_saying_why() -> None:
    """Its command and its times are shown."""
    fields: dict[str, Json] = {"args": ["safe", objects(90, "hunter2-hunter2"), TOKEN], "created_at": 1.5}
    with little_room(130):
        found = shown(fields)
    assert found["args"] == ["(not shown: it is nested too deeply)"]
    assert (found["display_class"], found["created_at"]) == ("safe", 1.5)


@pytest.mark.parametrize(
    ("args", "kept"),
    [
        (["send_message", {"to": "bob@a.org", "body": "hi", "password": "pw"}, "t0ken"], {"to": "bob@a.org"}),
        (["send_message", [["to", "bob"], ["n", 5]], "t0ken"], {"to": "bob", "n": "5"}),
        (["send_message", '{"to": ["a", "b"]}', "t0ken"], {"to": '["a","b"]'}),
        (["send_message", {"to": "ä" * 150, "n": None}, "t0ken"], {"to": "ä" * 100}),
        # Nothing of an argument that has the token, or the password of another one, or names a secret.
        (["send_message", {"to": "at t0ken", "n": "is pw-1234", "password": "pw-1234"}, "t0ken"], {}),
        (["send_message", {"to": "<x password='pw'/>"}, "t0ken"], {}),
        (["send_message", ["to", "bob"], "t0ken"], {}),
        (["send_message"], {}),
        ("nonsense", {}),
    ],
)
def test_what_is_kept_of_a_finished_job_has_nothing_hidden(args: Json, kept: dict[str, str]) -> None:
    token = hiding.spellings_of(["t0ken"])
    assert display.some_arguments({"args": args}, ["to", "n", "body", "password"], token, None) == kept
