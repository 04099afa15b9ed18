import json
import time
from html import escape
from urllib.parse import quote, quote_plus

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from restbroker.job import hiding, redact
from restbroker.job.command import ArgumentSpec, CommandSpec
from restbroker.job.hiding import EVERYTHING, HIDDEN, MASK
from restbroker.job.json_types import Json
from tests.support.rows import rows

SPEC = CommandSpec("set", (ArgumentSpec("pin", "string", secret=True, aliases=("code",)),), "safe")
SECRET = 'hé"l/l&o <ö>+s 3cret'

secrets = st.text(min_size=6, max_size=20).filter(lambda text: not set(MASK) & set(text))
short_secrets = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5).filter(
    lambda text: not set(MASK) & set(text) and text.split() == [text] and text.isprintable()
)
values = st.recursive(
    st.none() | st.integers() | st.text(max_size=10),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)


@rows(
    "name",
    ["password", "pass", "newpass", "passwd", "PassWord", "secret", "client_secret", "token", "api_key", "streamId"],
)
def test_arguments_of_secret_names_are_masked_at_any_depth(name: str) -> None:
    given_values: dict[str, Json] = {name: ["x"], "user": "u", "users": [{name: "x", "n": 1}], "pairs": [[name, "x"]]}
    shown = redact.arguments(None, given_values, show_bodies=True)
    assert shown == {name: MASK, "user": "u", "users": [{name: MASK, "n": 1}], "pairs": MASK}


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
@rows(
    ("first", "second"),
    [
        ("password=Pa5s-word", "user=b"),
        ('{"password":"Pa5s-word"}', "other"),
        ("<iq><password>Pa5s-word</password></iq>", "<presence/>"),
        ("user=b", "password=Pa5s-word"),
    ],
)
def test_text_with_the_secret_is_masked_and_its_twin_is_not(first: str, second: str) -> None:
    given_values: dict[str, Json] = {"l": [first, second]}
    masked: Json = [MASK if "Pa5s-word" in text else text for text in (first, second)]
    assert redact.arguments(None, given_values, show_bodies=True) == {"l": masked}
    assert "Pa5s" not in hiding.text("no Pa5s-word", redact.secret_values(None, given_values))


def test_a_text_that_speaks_of_a_password_does_not_hide_the_next() -> None:
    given_values: dict[str, Json] = {"todo": ["reset password please", "call bob"]}
    assert redact.arguments(None, given_values, show_bodies=True) == given_values
    assert redact.secret_values(None, given_values) == frozenset()


@rows("args", [
    ["register", {"opts": [["body", "hunter22"]], "stanza": "<password>hunter22</password>"}, "t"],
    ["register", "{broken hunter22 <password>", "t"],
    ['{"hunter22', {"stanza": "<password>hunter22</password>"}, "t"],
])  # fmt: skip
def test_a_word_that_nothing_shows_is_no_shown_word(args: list[Json]) -> None:
    assert "hunter22" not in hiding.text("no hunter22", redact.look({"args": args})[1])


@rows("beside", [
    {"junk": [1e9] * 9000}, {"tags": ["x" * 70_000]}, {"error_message": "x" * 70_000}, {"junk": {"x" * 70_000: 1}},
])  # fmt: skip
@rows("hidden", ["<p%61ssword>hunter2xyzq</p%61ssword>", {"p%61ssword": "hunter2xyzq"}])
def test_fields_beside_the_arguments_do_not_change_their_reading(beside: dict[str, Json], hidden: Json) -> None:
    shown = redact.job({"class": "Add", "args": ["slow", {"to": "a@b", "xml": hidden}, "-"], **beside})
    assert "hunter2xyzq" not in json.dumps(shown["args"])


@rows("value", [
    {"name": "password", "hunter22x": "zzz"},
    {"rows": [["password", {"hunter22x": 1}]]},
    [["password", {"hunter22x": 1}, 5], 5],
])  # fmt: skip
def test_member_names_of_a_secret_argument_are_in_no_error(value: Json) -> None:
    found = redact.secret_values(None, {"cmd": value, "user": {"nickname": "bob"}})
    assert hiding.text("no field hunter22x", found) == HIDDEN
    assert hiding.text("no hunter22x", redact.look({"args": ["c", [value, 5], "t"]})[1]) == HIDDEN


def test_answer_of_its_producer_only_lacks_the_secrets() -> None:
    values: dict[str, Json] = {"password": "Pa5s-word", "stanza": "<password>sesame-4711</password>"}
    text = "no Pa5s-word, no sesame-4711"
    assert hiding.text(text, redact.secret_values(None, values, with_texts=False)) == f"no {MASK}, no sesame-4711"


@rows("value", [
    {'{"user": "b", "password": "Pa5s-word"}': ""},
    {"rows": [{"<password>Pa5s-word</password>": 1}]},
    '{"password": "Pa5s-word"',
])  # fmt: skip
def test_member_names_and_unreadable_parts_show_no_secret(value: Json) -> None:
    fields: dict[str, Json] = {"args": ["c", value, "t", ["token=Pa5s-word"]], "error_message": "near Pa5s-word"}
    fields["auth/token"] = "Pa5s-word"
    assert "Pa5s" not in json.dumps(redact.job(fields))


def test_secret_names_outside_arguments_hide_only_job_secrets() -> None:
    message = "the password is too short (8 characters), not a1b2c3"
    fields: dict[str, Json] = {"class": "Accounts::PasswordReset", "args": ["c", {"password": "a1b2c3"}, "t"]}
    shown = redact.job({**fields, "error_message": message})
    assert (shown["class"], shown["error_message"]) == (fields["class"], message.replace("a1b2c3", MASK))


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
def test_whole_secret_may_be_quoted_in_part() -> None:
    document = 'mutation { account { registerUser(username: "b", password: "Pa5s-word") { message } } }'
    spec = CommandSpec("graphql", (ArgumentSpec("query", "string", secret=True),), "unsafe")
    found = redact.secret_values(spec, {"query": document})
    message = 'Input coercion failed for type Password with value <<"Pa5s-word">>'
    assert "Pa5s-word" not in hiding.text(message, found)


def test_secret_arguments_are_masked_under_each_name() -> None:
    shown = redact.arguments(SPEC, {"pin": "1", "code": 2, "host": "h"}, show_bodies=True)
    assert shown == {"pin": MASK, "code": MASK, "host": "h"}


@rows("name", ["body", "html", "subject", "stanza", "Body", "messageBody", "elementString"])
def test_message_texts_are_shown_only_on_demand(name: str) -> None:
    message: dict[str, Json] = {name: "hello", "messages": [{name: "hello"}]}
    assert redact.arguments(None, message, show_bodies=False) == {name: MASK, "messages": [{name: MASK}]}
    assert redact.arguments(None, message, show_bodies=True) == message


def test_secret_values_are_found_wherever_they_hide() -> None:
    found = redact.secret_values(
        SPEC,
        {"code": 1234, "users": [{"password": "a", "tokens": ["b", {"x": "c"}]}], "pairs": [["secret", "dee"]], "n": 9},
    )
    assert {secret for secret in found if isinstance(secret, str)} == {"1234", "a", "b", "c"}
    assert hiding.text("no dee, no 9", found) == HIDDEN


@given(st.dictionaries(st.text(max_size=5), values, max_size=3), st.from_regex(r"Zq[a-zA-Z0-9]{2,9}", fullmatch=True))
def test_no_secret_argument_survives_in_a_job(arguments: dict[str, Json], secret: str) -> None:
    assume(secret not in json.dumps(arguments))
    hidden = {**arguments, "inner": [{"password": secret}]}
    pairs: Json = [[name, value] for name, value in hidden.items()]
    forms: tuple[Json, ...] = (hidden, pairs, json.dumps(hidden), "{broken " + secret)
    for form in forms:
        shown = redact.job(
            {
                "args": ["set", form, "the-token"],
                "error_message": f"the-token {secret if form is hidden else ''}",
                "restbroker_attempts": [{"excerpt": "the-token"}],
            }
        )
        assert secret not in json.dumps(shown, ensure_ascii=False)
        assert "the-token" not in json.dumps(shown)


def test_a_cut_never_leaves_the_beginning_of_a_secret() -> None:
    assert hiding.text("x" * 8 + "geheimnis", {"geheimnis"}, 10) == "xxxxxxxx" + "*…"


def test_a_secret_that_comes_about_by_joining_lines_goes_too() -> None:
    assert hiding.text("my pass\n\tword", {"pass word"}) == HIDDEN


@rows(
    ("message", "line"),
    [
        ("a\r\nERROR forged", "a ERROR forged"),
        ("a\x1b[31mb\x00\x7f\x9b", "a [31mb"),
        ("a\u2028b\u202ec\u2066d", "a b c d"),
        ("a\ud800", "a\ufffd"),
        ("see http://me:pw@h/x", f"see http://{MASK}@h/x"),
        ("Authorization: Bearer abc.def-1", f"Authorization: {MASK}"),
    ],
)
def test_a_text_stays_on_its_line_and_gives_no_credentials(message: str, line: str) -> None:
    assert hiding.text(message, ()) == line


@rows(
    ("secret", "line"),
    [
        ("bob", "User bobby@example.org already registered"),
        ("obby", "User bobby@example.org already registered"),
        ("regis", "User bobby@example.org already registered"),
        ("bob", "User big_bob2@example.org already registered"),
        ("a", "a1 cat's"),
        ("1234", "after 12345 ms"),
        ("-", "half-hearted"),
        (" ", "two words"),
    ],
)
def test_short_secret_is_not_betrayed_by_a_mask_in_a_longer_word(secret: str, line: str) -> None:
    assert hiding.text(line, {secret, ""}) == line


@rows(
    ("line", "shown"),
    [
        ("bob", MASK),
        ("wrong password bob.", f"wrong password {MASK}."),
        ('{"password":"bob"}', f'{{"password":"{MASK}"}}'),
        ("<p>bob</p>", f"<p>{MASK}</p>"),
        ("user=bobby&pw=bob&x", f"user=bobby&pw={MASK}&x"),
        ("%7B%22pw%22%3A%22bob%22%7D", HIDDEN),
        ("not\\nbob\\u003cbob", HIDDEN),
        ("bobby is bob", f"bobby is {MASK}"),
    ],
)
def test_a_short_secret_goes_where_it_is_a_word(line: str, shown: str) -> None:
    assert hiding.text(line, {"bob"}) == shown


@given(short_secrets, st.sampled_from([(" ", "."), ('"', '"'), ("<b>", "</b>"), ("=", "&"), (": ", "")]))
def test_no_short_secret_standing_alone_survives_in_any_spelling(secret: str, around: tuple[str, str]) -> None:
    before, after = around
    assume(not set(secret) & set(before + after))
    for spelling in (secret, json.dumps(secret)[1:-1], quote(secret), quote_plus(secret), escape(secret)):
        shown = hiding.text(f"says{before}{spelling}{after}", {secret})
        assert shown == HIDDEN or (MASK in shown and f"{before}{spelling}{after}" not in shown)


@rows("line", ["xhunter2x", "hunter2ing", "my_hunter2"])
def test_secret_of_six_characters_is_masked_inside_a_word_too(line: str) -> None:
    assert hiding.text(line, {"hunter"}) == line.replace("hunter", MASK)


def test_spelling_shared_by_two_secrets_is_masked_everywhere() -> None:
    assert hiding.text("x&lt;ab", {"<ab", "&lt;ab"}) == f"x{MASK}"


def test_secrets_in_paths_and_queries_are_masked() -> None:
    endpoint = "/users/joe/gehe%69m!x?api_key=123&user=joe&token=t"
    shown = redact.job({"args": [endpoint, {"password": "geheim!x"}, "gehe%69m!x"]})
    assert shown["args"] == [MASK, {"password": MASK}, MASK]


@rows(
    ("args", "shown"),
    [
        (["e", {"password": "p", "user": "u"}, "t"], ["e", {"password": MASK, "user": "u"}, MASK]),
        (["e", [["password", "p"], ["user", "u"]], "t", 7], ["e", [["password", MASK], ["user", "u"]], MASK, 7]),
        (["e", [{"password": "p"}, {"body": "b"}], "t"], ["e", [{"password": MASK}, {"body": MASK}], MASK]),
        (["e", '{"password": "p", "n": 1}', "t"], ["e", {"password": MASK, "n": 1}, MASK]),
        (["e", "{broken", "t"], ["e", MASK, MASK]),
        (["e", '{"password": "p"}'], ["e", {"password": MASK}]),
        (["refresh", ["john", "aaron"], {"sub": "t"}], ["refresh", ["john", "aaron"], MASK]),
        ('["e", {}, "t"]', ["e", {}, MASK]),
        ("garbage", [MASK]),
        ({"a": 1}, [MASK]),
        ([], []),
    ],
)
def test_a_job_is_shown_without_token_and_secrets(args: Json, shown: Json) -> None:
    assert redact.job({"class": "Add", "args": args, "jid": "j"}) == {"class": "Add", "args": shown, "jid": "j"}


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
@rows("args", [
    [json.dumps({"command": "register", "args": {"password": "Pa5s-word"}})],
    [{"command": "register", "password": "Pa5s-word"}],
    [json.dumps(["register", {"password": "Pa5s-word"}, "Pa5s-token"])],
    [["register", [["password", "Pa5s-word"]], "Pa5s-token"]],
    ["<password>Pa5s-word</password>", {}, "t"],
])  # fmt: skip
def test_text_in_place_of_the_endpoint_is_searched_too(args: Json) -> None:
    for given_args in (args, json.dumps(args)):
        shown = redact.job({"class": "Add", "args": given_args, "error_message": "no Pa5s-word"})
        text = json.dumps(shown)
        assert "Pa5s" not in text


def test_secrets_of_arguments_that_are_no_list_are_in_no_error() -> None:
    args: Json = {"command": "register", "password": "Pa5s-word"}
    for value in (args, json.dumps(args)):
        assert "Pa5s" not in json.dumps(redact.job({"class": "Add", "args": value, "error_message": "no Pa5s-word"}))


def test_signature_is_shown_and_a_lookalike_is_not() -> None:
    signature = "v1q:app:1795165609:" + "0" * 64
    shown = redact.job({"args": ["kick_user", {"user": "bob"}, signature], "error_message": f"of {signature}"})
    assert shown["args"] == ["kick_user", {"user": "bob"}, signature]
    assert shown["error_message"] == f"of {signature}"
    assert redact.job({"args": ["kick_user", {}, signature + "0"]})["args"] == ["kick_user", {}, MASK]


def test_an_unreadable_payload_shows_nothing_of_itself() -> None:
    shown = redact.job({"class": "Restbroker::Unreadable", "args": ['["e", {}, "the-token"'], "jid": "j"})
    assert shown == {"class": "Restbroker::Unreadable", "args": [MASK], "jid": "j"}


def test_oversized_payload_shows_only_the_key_of_its_bytes() -> None:
    named: list[Json] = ["restbroker:large:" + "a" * 24, 8388705]
    assert redact.job({"class": "Restbroker::Unreadable", "args": named})["args"] == named
    for args in (list[Json](), list[Json](["restbroker:large:" + "a" * 24 + "the-token"])):
        assert redact.job({"class": "Restbroker::Unreadable", "args": args})["args"] == [MASK]


def test_a_header_that_only_looks_like_basic_is_hidden_as_it_is() -> None:
    known = hiding.login_spellings([("X-Auth-Token", "Basic n0t-b4se64!"), ("Accept", "text/plain")])
    assert hiding.mask_secrets("it was n0t-b4se64! and text/plain", known) == f"it was {MASK} and text/plain"


def test_attempts_are_shown_without_the_jobs_secrets() -> None:
    line: Json = {"code": "E", "status": 500, "excerpt": "no hunter2-hunter2"}
    shown = redact.job({"args": ["register", {"password": "hunter2-hunter2"}, "-"], "restbroker_attempts": [line]})
    assert shown["restbroker_attempts"] == [{"code": "E", "status": 500, "excerpt": f"no {MASK}"}]


def test_no_more_attempts_are_shown_than_are_kept() -> None:
    attempts: list[Json] = [{"excerpt": f"no {number}"} for number in range(1000)]
    assert redact.job({"class": "Add", "restbroker_attempts": attempts})["restbroker_attempts"] == attempts[-10:]


def test_secrets_are_found_without_token_but_not_in_invalid_jobs() -> None:
    fields: dict[str, Json] = {"args": ["register", {"password": "hunter2-hunter2"}]}
    assert redact.look(fields, show_bodies=True)[1] == {"hunter2-hunter2"}
    assert redact.look({**fields, "class": "Restbroker::Unreadable"})[1] == set()
    assert redact.job({**fields, "error_message": "no hunter2-hunter2"})["error_message"] == f"no {MASK}"


def test_deeply_nested_json_breaks_nothing_and_hides_no_secret() -> None:
    value: Json = {"password": "far-within"}
    for _ in range(11):
        for _ in range(97):
            value = [value]
        value = json.dumps(value)
    for stanza in (value, f"{value}\n{value}", [value, value]):
        args: Json = ["send_stanza", {"stanza": stanza, "password": "sesame-4711"}, "token-4711"]
        fields: dict[str, Json] = {"class": "Add", "args": args, "error_message": "no sesame-4711"}
        assert {"sesame-4711", "token-4711"} <= redact.look(fields, show_bodies=True)[1]
        assert "4711" not in json.dumps(redact.job(fields, show_bodies=True))


def test_command_without_its_secret_masks_unknown_names() -> None:
    spec = CommandSpec("register", (ArgumentSpec("user", "string"), *SPEC.arguments), "safe")
    fields: dict[str, Json] = {"error_message": "Who is pinn 4711-0815?"}
    rows_: list[tuple[Json, Json]] = [
        ({"user": "u", "pinn": "4711-0815"}, {"user": "u", "pinn": MASK}),
        ([["user", "u"], ["pinn", "4711-0815"]], [["user", "u"], ["pinn", MASK]]),
        (["u", "4711-0815"], MASK),
        ({"user": "u", "code": "4711-0815", "more": "m"}, {"user": "u", "code": MASK, "more": "m"}),
    ]
    for given_args, shown_args in rows_:
        shown = redact.job({**fields, "args": ["register", given_args, "t"]}, spec)
        assert isinstance(shown["args"], list)
        assert shown["args"][1] == shown_args
        assert "4711" not in str(shown["error_message"])
    assert redact.arguments(attrs.evolve(spec, takes_more=True), {"pinn": "x"}, show_bodies=True) == {"pinn": "x"}


def test_empty_secret_is_missing_also_after_an_equally_named_job() -> None:
    spec = CommandSpec("register", (ArgumentSpec("user", "string"), *SPEC.arguments), "safe")
    empties: tuple[Json, ...] = (None, "", [], {})
    for empty in empties:
        for pin, pinn in (("4711", "open"), (empty, MASK), ("4711", "open")):
            shown = redact.arguments(spec, {"user": "u", "pin": pin, "pinn": "open"}, show_bodies=True)
            assert shown == {"user": "u", "pin": MASK, "pinn": pinn}


def test_argument_with_a_secrets_name_may_be_missing() -> None:
    """This holds whatever its catalogue says."""
    spec = CommandSpec("note", (ArgumentSpec("user", "any"), ArgumentSpec("password", "any")), "unsafe")
    assert redact.arguments(spec, {"user": "u", "pw": "4711"}, show_bodies=True) == {"user": "u", "pw": MASK}
    for given_args, shown_args in ((["u", "4711"], MASK), ({"user": "u", "pw": "4711"}, {"user": "u", "pw": MASK})):
        fields: dict[str, Json] = {"args": ["note", given_args, "t"]}
        shown = redact.job(fields, spec)["args"]
        assert isinstance(shown, list)
        assert shown[1] == shown_args


def test_value_a_document_calls_secret_is_masked_under_any_name() -> None:
    arguments = (ArgumentSpec("query", "string", secret=True), ArgumentSpec("variables", "any", optional=True))
    spec = CommandSpec("graphql", arguments, "unsafe")
    for name in ("variables", "vars"):
        for query, shown in (("mutation M { f(password: $p) }", MASK), ("query Q { f(user: $p) }", {"p": "4711"})):
            values: dict[str, Json] = {"query": query, name: {"p": "4711"}}
            assert redact.arguments(spec, values, show_bodies=True) == {"query": MASK, name: shown}
            assert ("4711" in redact.secret_values(spec, values)) is (shown == MASK)


STANZA = "<register user='bob' password='hunter22'/>"


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
def test_own_words_are_stored_where_the_servers_are_hidden() -> None:
    said = f"The server says: 61 bytes {HIDDEN}"
    fields: dict[str, Json] = {
        "class": "Add",
        "args": ["send_stanza", {"to": "bob@example.org", "stanza": STANZA}, "t0ken"],
        "error_class": "Refused",
        "error_message": f"400 {said}. Correct the arguments.",
        "restbroker_attempts": [{"code": "Refused", "status": 400, "excerpt": said}],
    }
    shown = redact.job(fields)
    assert shown["error_message"] == fields["error_message"]
    assert shown["restbroker_attempts"] == fields["restbroker_attempts"]
    assert redact.job({**fields, "error_message": "Ruby says: no hunter22"})["error_message"] == HIDDEN
    assert redact.job({**fields, "restbroker_attempts": []})["error_message"] == HIDDEN


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
@rows("values", [
    {"stanza": STANZA},
    {"headers": {"password=hunter22": ""}},
    {"password=hunter22": ""},
    {"rows": [{"a": {"<password>hunter22</password>": 1}}]},
    {"form": [["password", "hunter22"]]},
    {"query": ["mutation { f(password: $p) }"], "variables": ["hunter22"]},
    {"todo": ["buy bread", "token=hunter22"]},
    {"body": "Your password: hunter22"},
])  # fmt: skip
def test_secret_argument_hides_itself_and_the_servers_words(values: dict[str, Json]) -> None:
    assert EVERYTHING in redact.secret_values(None, values)
    assert "hunter22" not in json.dumps(redact.arguments(None, values, show_bodies=True))
    shown = redact.job({"args": ["send", values, "t0ken"], "error_message": "hunter22?"}, show_bodies=True)
    assert "hunter22" not in json.dumps(shown)
    # An answer that is its producer's is not hidden for a text's sake.
    assert EVERYTHING not in redact.secret_values(None, values, with_texts=False)


FULL: list[Json] = ["a@b"] * 20_001


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
@rows("values", [
    {"users": FULL, "password": "sesame-4711"},
    {"password": [*FULL, "sesame-4711"]},
    {"form": {"a": FULL, "b": {"password": "sesame-4711"}}},
    {"pairs": [*[["a", "b"]] * 20_001, ["password", "sesame-4711"]]},
    {**{f"name{number}": 1 for number in range(20_001)}, "password": "sesame-4711"},
    {**{f"n%61me{number}": 1 for number in range(3_000)}, "password": "sesame-4711"},
    {"body": [*FULL, "sesame-4711"]},
    {"password": "x" * 70_000 + "sesame-4711"},
])  # fmt: skip
def test_of_a_job_with_too_much_in_it_nothing_is_shown(values: dict[str, Json]) -> None:
    """Also not in an answer that is its producer's."""
    found = redact.secret_values(None, values, with_texts=False, show_bodies=False)
    assert hiding.text("no sesame-4711", found) == HIDDEN
    assert "sesame-4711" not in json.dumps(redact.arguments(None, values, show_bodies=False))
    fields: dict[str, Json] = {"class": "Add", "args": ["send", values, "t"], "error_message": "no sesame-4711"}
    assert "sesame-4711" not in json.dumps(redact.job(fields))


def test_a_job_with_much_in_it_is_shown_but_for_its_secrets() -> None:
    values: dict[str, Json] = {"users": FULL[:19_000], "password": "sesame-4711"}
    assert redact.arguments(None, values, show_bodies=False) == {**values, "password": MASK}
    assert hiding.text("no sesame-4711, bob", redact.secret_values(None, values)) == f"no {MASK}, bob"


def test_texts_with_escapes_that_are_not_read_may_name_a_secret() -> None:
    much: Json = ["a%41="] * 2_000
    for values in ({"a": much, "b": "p%61ssword=sesame-4711"}, {"a": much, "b": ["password", "sesame-4711"]}):
        assert EVERYTHING in redact.secret_values(None, values)
        assert "sesame-4711" not in json.dumps(redact.arguments(None, values, show_bodies=False))
    few: Json = ["a%41="] * 500
    assert redact.arguments(None, {"a": few}, show_bodies=False) == {"a": few}


@pytest.mark.promise("Security: who can push to the queues", "to crash or stall it")
@rows("values", [
    {"x": ["\\x41="] * 100_000},
    {"x": [12345] * 150_000},
    {"x": {f"n%4{number} x": "v" for number in range(50_000)}},
    {f"na%41me {number}": "v" for number in range(50_000)},
    {"x": [["name%41", "v=1"]] * 50_000},
    {f"x{number}": "\\x41&amp;%41=" * 5000 for number in range(15)},
    {"password": "Bearer " + "a%41=b; " * 120_000},
    {"password": ["a b=c"] * 150_000},
    {"content": ["\\x41="] * 100_000},
    {"body": {f"k{number}": "\\x41&amp;%41 " * 3800 for number in range(20)}},
])  # fmt: skip
def test_secrets_of_a_megabyte_are_soon_looked_for(values: dict[str, Json]) -> None:
    began_s = time.process_time()
    redact.secret_values(None, values, show_bodies=False)
    assert time.process_time() - began_s < 0.2, "a fifth of it on a quiet machine"
