"""Passwords deep inside arguments that have a structure of their own are masked by their names, or with all of the text
that names them, and servers that repeat them are quoted without.
"""

import json
import time
from html import escape
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import settings

from restbroker.job import hiding, redact
from restbroker.job.hiding import HIDDEN, MASK
from restbroker.job.json_types import Json
from tests.support.rows import rows

# A megabyte, with `.ci/soak fuzz`.
SMALL = 125_000 if settings().max_examples > 1000 else 5_000
PASSWORD = 'p4ss <w>"o\\rd" & more'
FORM: Json = {"fields": [{"var": "accountjid", "value": "a@h"}, {"var": "password", "values": [PASSWORD]}]}
PRIVATE: Json = [{"type": "text-private", "var": "pin", "value": PASSWORD}]
FIELD = f"<x><field label='A' var='password'>\n<value>{escape(PASSWORD)}</value></field></x>"


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
@rows("value", [
    {"node": "add-user", "data": {"password": PASSWORD, "password-verify": PASSWORD}},
    json.dumps({"node": "add-user", "data": {"password": PASSWORD}}),
    json.dumps({"inner": json.dumps([["password", PASSWORD]])}),
    json.dumps(json.dumps({"password": PASSWORD})),
    {"node": "add-user", "form": FORM},
    json.dumps(FORM),
    {"form": PRIVATE},
    [{"name": "Authorization", "value": PASSWORD}, {"key": "api_key", "val": PASSWORD}],
    ["password", [PASSWORD]],
    {"room": "r", "service": "s", "option": "password", "value": PASSWORD},
    {"properties": {"property": [{"@key": "console.password", "@value": PASSWORD}]}},
    [["name", "password"], ["value", PASSWORD]],
    {f"password={quote_plus(PASSWORD)}": "x"},
    f"error: password={json.dumps(PASSWORD)}",
    f'in the middle of words: {{"password": {json.dumps(PASSWORD)}, "x',
    f'{{"user":"a","password":{json.dumps(PASSWORD)[:-1]}',
    f"https://h/cb#access_token={quote_plus(PASSWORD)}",
    f"https://h/x?user=a&password={quote_plus(PASSWORD)}&x=1",
    f"https://h/x?option=password&value={quote_plus(PASSWORD)}",
    [f"https://h/token/{quote_plus(PASSWORD)}", "b"],
    urlencode({"user[name]": "bob", "user[password]": PASSWORD}),
    urlencode({"fields[0][name]": "password", "fields[0][value]": PASSWORD}),
    f"X-Url: /x?token={quote_plus(PASSWORD)}",
    f"mutation {{ account {{ registerUser(user: $u, password: {json.dumps(PASSWORD)}) {{ message }} }} }}",
    {"query": "mutation ($p: P!) { register(password: $p) }", "variables": {"p": PASSWORD}},
    {"query": "mutation ($p: P!) { register(password: $p) }", "variables": json.dumps({"p": PASSWORD})},
    f"<iq><x:password a='1'>{escape(PASSWORD, quote=False)}</x:password></iq>",
    f"<iq><password><![CDATA[{PASSWORD}]]></password></iq>",
    f"<auth user='u' password='{escape(PASSWORD)}'/>",
    FIELD,
    f"<x><field type='text-private' var='pin'><value>{escape(PASSWORD)}</value></field></x>",
    f"<item name='password' value='{escape(PASSWORD)}'/>",
    f"<property><name>password</name>\n<value>{escape(PASSWORD)}</value></property>",
    f"<forwarded><body>{escape(FIELD)}</body></forwarded>",
    f"<message><json>{escape(json.dumps(FORM))}</json></message>",
    f"user: a\npassword: {PASSWORD}\n",
    f"password = {PASSWORD}",
    ["-u", "bob", "--password", PASSWORD],
    f"pwd={quote_plus(PASSWORD)}&x=1",
    f"passphrase={quote_plus(PASSWORD)}&x=1",
    f"p%61ssword={quote_plus(PASSWORD)}",
    f'{{"\\u0070ass\\u0077ord": {json.dumps(PASSWORD)}}}',
    f"&lt;p&#97;ssword>{escape(PASSWORD)}",
    {"p&#97%3Bssword": PASSWORD},
    f"p&#x61%253Bssword={quote_plus(PASSWORD)}",
    [{"name": "p%61ssword", "value": PASSWORD}],
])  # fmt: skip
def test_secret_in_a_structured_argument_is_masked_by_its_name(value: Json) -> None:
    given: dict[str, Json] = {"to": "example.org", "command": value}
    text = hiding.text(f"no {PASSWORD} at example.org", redact.secret_values(None, given))
    assert text in (HIDDEN, f"no {MASK} at example.org")
    shown = json.dumps(redact.arguments(None, given, show_bodies=True), ensure_ascii=False)
    assert MASK in shown
    for part in ("p4ss", "more"):
        assert part not in shown
    of_job = redact.job({"class": "Add", "args": ["iq", given, "t"]}, show_bodies=True)
    assert "p4ss" not in json.dumps(of_job)


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
@rows("named", [
    {"room": "r", "option": "password", "value": PASSWORD},
    {"query": "mutation ($p: P!) { register(password: $p) }", "variables": {"p": PASSWORD}},
    {"query": ["mutation ($p: P!) { register(password: $p) }"], "variables": [PASSWORD]},
])  # fmt: skip
def test_argument_describing_another_is_read_in_every_list_form(named: dict[str, Json]) -> None:
    pairs: Json = [[name, value] for name, value in named.items()]
    objects: Json = [{name: value} for name, value in named.items()]
    for given in (pairs, objects, json.dumps(pairs), json.dumps(objects)):
        fields: dict[str, Json] = {"class": "Add", "args": ["c", given, "t"], "error_message": PASSWORD}
        assert "p4ss" not in hiding.text(f"no {PASSWORD}!", redact.look(fields)[1])
        assert "p4ss" not in json.dumps(redact.job(fields, show_bodies=True))


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
@rows(("text", "secret"), [
    ("user=a&password=it's-p4ss&x=1", "it's-p4ss"),
    ("https://h/x?u=1&password=pa$$p4ss", "pa$$p4ss"),
    ("user: a\npassword: $2y$10$p4ss/abc\n", "$2y$10$p4ss/abc"),
    ("https://h/x?access_token=p4ss4711#x", "p4ss4711"),
    ("Password: p4ss4711, user: bob", "p4ss4711"),
    ("<x password='a>p4ss'/>", "a>p4ss"),
    ('<item name="password" value="it\'s-p4ss"/>', "it's-p4ss"),
    ("<field label='a > b' var='password'><value>p4ss</value></field>", "p4ss"),
    ("body: '{\"password\":\"p4ss4711\"}'", "p4ss4711"),
    ("<a data='{&quot;password&quot;:&quot;p4ss4711&quot;}'/>", "p4ss4711"),
])  # fmt: skip
def test_a_sign_that_is_left_as_it_is_ends_no_secret(text: str, secret: str) -> None:
    assert "p4ss" not in hiding.text(f"no {secret}!", redact.secret_values(None, {"command": text}))
    shown = redact.arguments(None, {"command": text}, show_bodies=True)
    assert "p4ss" not in json.dumps(shown)


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
@rows("headers", [
    {"Authorization": "Bearer p4ss.4711"},
    {"Authorization": "Basic Ym9iOnA0c3MuNDcxMQ=="},
    {"Authorization": 'Token token="p4ss.4711"'},
    {"Cookie": "lang=de; sid=p4ss.4711"},
    [["Cookie", "sid=p4ss.4711; lang=de"]],
    ["Cookie: sid=p4ss.4711; lang=de", "Accept: text/plain"],
    "X: y\r\nAuthorization: Basic Ym9iOnA0c3MuNDcxMQ==\r\n",
    {"Authorization": "ApiKey bob:p4ss.4711"},
    {"Authorization": "ApiKey Ym9iOnA0c3MuNDcxMQ=="},
    {"Cookie": "lang=de; connect.sid=s%3Ap4ss.4711"},
])  # fmt: skip
def test_header_secret_is_found_without_its_surroundings(headers: Json) -> None:
    found = redact.secret_values(None, {"headers": headers})
    assert hiding.text("no p4ss.4711!", found) in (HIDDEN, f"no {MASK}!")
    assert hiding.text("de sid lang bob", found) in (HIDDEN, "de sid lang bob")


def test_a_secret_that_is_no_header_is_not_taken_apart() -> None:
    assert redact.secret_values(None, {"password": "correct horse battery"}) == {"correct horse battery"}


@rows("value", [
    {"fields": [{"var": "accountjid", "value": "a@h"}]},
    [{"name": "Cookie Monster", "jid": "monster@example.org"}],
    "Please change your password, and mind the token. It is yours!",
    {"query": "{ account { listUsers(domain: $d) } }", "variables": {"d": "example.org"}},
    '{"a": [1, 2, {"b": null}]}',
    "password_protected@conference.passau.example.org",
    "anna@uni-passau.example.org/phone",
    ["compass@example.org", "bob"],
    {"name": "Passau office", "value": 5},
    "He passed on bad words (again): see the compass, Passau's.",
    [{"op": "replace", "path": "/nick", "value": "b"}, {"$": {"var": "nick"}, "value": ["b"]}],
    {"field": {"@attributes": {"var": "nick"}, "value": "b"}, "note": "mind the password"},
    "anna@example.org/secretary",
    ["anna@example.org/secretary", "bob@example.org/token"],
    "Mind the bypass (again), the overpass, and who'd trespass or surpass it!",
])  # fmt: skip
def test_lookalike_of_a_secret_is_shown_as_it_is(value: Json) -> None:
    assert redact.arguments(None, {"command": value}, show_bodies=True) == {"command": value}
    assert redact.secret_values(None, {"command": value}) == frozenset()


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
@rows("given", [
    [["password", "Pa5s-word-1"], ["password", "Pa5s-word"]],
    [["option", "password"], ["value", "b"], ["value", "Pa5s-word"]],
    [["user", "b"], {"pin": "Pa5s-word", "host": "h"}],
    [{"user": "b"}, "Pa5s-word"],
])  # fmt: skip
def test_list_that_is_no_form_of_arguments_is_hidden(given: Json) -> None:
    fields: dict[str, Json] = {"class": "Add", "args": ["c", given, "t"], "error_message": "no Pa5s-word"}
    shown = redact.job(fields, show_bodies=True)
    assert (shown["args"], shown["error_message"]) == (["c", MASK, MASK], HIDDEN)


def test_the_signs_of_a_secret_may_be_halves_of_characters() -> None:
    for text in ("no Pa5\ufffds-w", "no Pa5\\ud800s-w"):
        assert hiding.text(text, ["Pa5\ud800s-w"]) in (HIDDEN, f"no {MASK}")


@pytest.mark.promise("Security: who can push to the queues", "to crash or stall it")
@pytest.mark.nightly
@rows("value", [
    [["password", "x"]] * 60_000,
    [f"p%61ssword{number}" for number in range(55_000)],
    {f"p%61sswor{number}": "x" for number in range(40_000)},
    ["x=" + "%2525252525" * 5_900] * 15,
    ["&#97;" * 12_000] * 15,
    [{"password": f"v{number}"} for number in range(45_000)],
    [f"password={number}" for number in range(55_000)],
    [f"sid=s%253A{number}" for number in range(60_000)],
    "a.-" * 300_000 + "password:",
])  # fmt: skip
def test_hostile_job_of_a_mebibyte_is_searched_soon(value: Json) -> None:
    """Twice: a connector takes the secrets out of the answer, and the broker out of the message."""
    began_s = time.process_time()
    for arguments in ({"command": value, "value": ""}, {"password": value}):
        redact.secret_values(None, arguments)
    assert time.process_time() - began_s < 3.0, "on a busy machine"


@pytest.mark.nightly
@rows("piece", [
    'password:"\\',
    "password-",
    "<password",
    '{"password":',
    "[",
    "password:String=",
    "{\n",
    "&quot;",
    "&lt;password&gt;",
    "a.-",
    "$p:",
])  # fmt: skip
def test_time_to_search_a_text_grows_only_with_its_length(piece: str) -> None:
    small, large = ("password " + piece * (size // len(piece)) for size in (SMALL, 8 * SMALL))
    assert look_through_s(large) < 24 * min(look_through_s(small) for _ in range(3)), "eight times as long"


def look_through_s(text: str) -> float:
    """The CPU time that it takes."""
    began_s = time.process_time()
    redact.secret_values(None, {"command": text, "query": text, "variables": {}})
    return time.process_time() - began_s


@pytest.mark.promise("Security: who can push to the queues", "to crash or stall it")
@pytest.mark.nightly
@rows("text", [
    'password:["' + "\\" * 300_001,
    "{password\n" + "{}\n" * 100_000,
    "password &#" + "9" * 300_000,
    "password " + "&#0" * 100_000,
    "password: Basic " + "=" * 300_000,
    "password name=" + "name" * 75_000,
])  # fmt: skip
def test_no_text_with_one_beginning_takes_long_to_look_through(text: str) -> None:
    assert look_through_s(text) < 3.0
