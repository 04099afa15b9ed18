"""What servers make of a secret when they repeat it: its spellings, and the parts of a header's value."""

import base64
import json
import random
import re
import unicodedata
from collections.abc import Callable
from html import escape
from html.entities import codepoint2name
from typing import Literal
from unittest.mock import Mock
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from restbroker.job import hiding
from restbroker.job.hiding import MASK
from tests.support.rows import rows

# What these write as `\u00XX` in JSON, beside what JSON itself asks for.
JSON_ESCAPES = {
    "Go, Rails": ("<>&", "04x"),
    "Gson": ("<>&='", "04x"),
    "Flask": ("<>&'", "04x"),
    "ASP.NET": ("<>&'+`", "04X"),
    "each in lower case": ("<>&'+", "04x"),
}
# How these write a quotation mark, an apostrophe and a plus in HTML.
HTML_ESCAPES = {
    "Rails, PHP, Java": ("&quot;", "&#39;", "+"),
    "PHP of old": ("&quot;", "&#039;", "+"),
    "Jinja, Go": ("&#34;", "&#39;", "+"),
    "Go's templates": ("&#34;", "&#39;", "&#43;"),
    "ASP.NET": ("&quot;", "&#x27;", "&#x2B;"),
}
EVERY = "all<of>these&in'one=and+the`same\""
printable = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="*"), min_size=6, max_size=20)


def quoted_by(server: str, secret: str) -> str:
    characters, form = JSON_ESCAPES[server]
    quoted = json.dumps(secret)[1:-1]
    quoted = quoted.replace('\\"', "\\u0022") if server == "ASP.NET" else quoted
    return "".join(f"\\u{ord(one):{form}}" if one in characters else one for one in quoted)


def in_html_of(server: str, secret: str) -> str:
    quotation, apostrophe, plus = HTML_ESCAPES[server]
    return escape(secret, quote=False).replace('"', quotation).replace("'", apostrophe).replace("+", plus)


@given(printable)
@example(EVERY)
def test_a_secret_is_found_in_json_and_html_however_servers_escape_what_may_be_misread(secret: str) -> None:
    told = {server: quoted_by(server, secret) for server in JSON_ESCAPES}
    told |= {f"HTML of {server}": in_html_of(server, secret) for server in HTML_ESCAPES}
    wrong = {server: text for server, text in told.items() if hiding.text(f"no {text}!", [secret]) != f"no {MASK}!"}
    assert not wrong


@rows("spelling", [r"pl\u002Bus\u0022\u00E9\u003Cq\u003E", r"pl+us\"é\u003cq\u003e", r"pl+us\"\u00e9\u003cq\u003e"])
def test_a_secret_beyond_ascii_is_found_in_the_json_of_such_servers_too(spelling: str) -> None:
    assert hiding.text(f"no {spelling}!", ['pl+us"é<q>']) == f"no {MASK}!"


def in_a_script(text: str) -> str:
    return quote(text, safe="!'()*")


def in_a_path(text: str) -> str:
    return quote(text, safe="!$&'()*+,;=:@")


def in_small_letters(text: str) -> str:
    return re.sub("%..", lambda found: found[0].lower(), quote(text, safe=""))


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@rows("once", [quote, quote_plus, in_a_script, in_a_path, in_small_letters])
@rows("again", [quote, quote_plus, in_a_script, in_a_path, in_small_letters])
@rows("secret", ["s3cr+et/Sh4red!", "a b", "p/w!", "b0b", "gr\u00fc\u00df & 'so' (x)"])
def test_a_secret_is_found_in_a_url_that_is_encoded_within_another(
    secret: str, once: Callable[[str], str], again: Callable[[str], str]
) -> None:
    url = "/login.jsp?url=" + again(f"/x?type={once('=')}add&password{once('=')}{once(secret)}&username=b")
    told = hiding.text(url, [secret])
    assert MASK in told
    assert again(once(secret)) not in told


def test_a_secret_has_some_dozens_of_spellings_and_not_thousands() -> None:
    """Each is looked for in each text, and takes time to make."""
    assert len(hiding.spellings_of([f"{other}é\"+/<&>='-{'x' * 20}" for other in range(100)])) < 100 * 60


# Of three letters behind a name of another length less than four characters are the secret's alone.
@rows("login", ["ad:b0b", "ad:pa5s", "adm:pa5s", "admi:pa5s"])
def test_a_secret_of_three_or_four_letters_is_found_in_base64(login: str) -> None:
    coded = base64.b64encode(login.encode()).decode()
    assert MASK in hiding.text(f"got {coded}", [login.partition(":")[2]])


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@rows(
    ("value", "told"),
    [
        ("lang=en; session=C00KIE-canary-1; a=1", "C00KIE-canary-1"),
        ("lang=en; session=C00KIE-canary-1; a=1", "lang=en; session=C00KIE-canary-1; a=1"),
        ('Token token="sekret12345"', "sekret12345"),
        ("Token token='sekret12345'", "sekret12345"),
        ('Token token="sekret 12345, too"', "sekret 12345, too"),
        ("AccessKey id=me, secret=sekret12345", "sekret12345"),
        ("id=me,secret=sekret12345,x", "sekret12345"),
        ("Bearer sekret12345", "sekret12345"),
        ("Bearer   sekret12345", "sekret12345"),
        ("sekret12345", "sekret12345"),
        ("me sekret12345", "sekret12345"),
        ("session=c2VrcmV0MTI==; x", "c2VrcmV0MTI=="),
        ("Bearer c2VrcmV0MTI=", "c2VrcmV0MTI="),
        ("sig c2VrcmV0MTI==, c2VrcmV0MTI=", "c2VrcmV0MTI="),
        ("sixsix; seven", "sixsix"),
        ("connect.sid=s%3Ap4ss4711.x%2By; lang=en", "s:p4ss4711.x+y"),
        ("ApiKey me:sekret12345", "sekret12345"),
        ("ApiKey bWU6c2VrcmV0MTIzNDU=", "sekret12345"),
        ("x-y-1 five5 short", "x-y-1 five5 short"),
        ('Token "id=sekret12345"', "sekret12345"),
        ("Key b0b", "b0b"),
        ("Key  b0b", "b0b"),
        ("letters", "letters"),
        ("AWS b0b", "AWS b0b"),
        ("correct horse battery", "correct horse battery"),
    ],
)
def test_the_secret_part_of_a_header_is_found_also_alone(value: str, told: str) -> None:
    known = hiding.login_spellings([("X-Auth", value)], frozenset({"x-auth"}))
    assert hiding.make_hide((), known)(f"{told} has expired", 100) == f"{MASK} has expired"


@rows(
    ("value", "told"),
    [
        ("session=C00KIE-canary-1; language=en", "the session and language en"),
        ('Signature algorithm="ed", expires="1"', "Signature, algorithm= and expires"),
        ("Negotiate sekret12345", "Negotiate failed"),
        ("Bearer five5, six", "five5 of six"),
    ],
)
def test_what_is_no_secret_of_a_header_is_shown(value: str, told: str) -> None:
    known = hiding.login_spellings([("Cookie", value)])
    assert known
    assert hiding.make_hide((), known)(told, 100) == told


def test_the_headers_that_a_connector_knows_to_be_secret_are_so_beside_those_called_so() -> None:
    headers = [("X-Auth", "first-s3cret"), ("Api-Token", "second-s3cret"), ("Accept", "third-value")]
    text = "first-s3cret second-s3cret third-value"
    assert hiding.mask_secrets(text, hiding.login_spellings(headers)) == f"first-s3cret {MASK} third-value"
    assert (
        hiding.mask_secrets(text, hiding.login_spellings(headers, frozenset({"x-auth"})))
        == f"{MASK} {MASK} third-value"
    )


@pytest.mark.parametrize(
    ("told", "secret"),
    [
        ("no Bearer 4711|SESAMEquartz here", "4711|SESAMEquartz"),
        (r"Basic YWRtaW46UXU\/WX5afn4+OWExWD5hY2JaMVg=", "YWRtaW46UXU/WX5afn4+OWExWD5hY2JaMVg="),
        ("http://admin:SESAME@QUARTZ@h/", "SESAME@QUARTZ"),
    ],
)
def test_what_looks_like_credentials_and_ends_within_a_secret_leaves_nothing_of_it(told: str, secret: str) -> None:
    shown = hiding.text(told, [secret])
    assert MASK in shown
    assert not any(secret[-length:] in shown for length in range(4, len(secret)))


@rows("line", [
    "Basic training room is full",
    "Bearer authentication failed",
    "basic HTTP login",
    "Bearer tokens.",
])  # fmt: skip
def test_prose_behind_the_name_of_a_scheme_is_shown(line: str) -> None:
    assert hiding.text(line, ()) == line


@rows("credentials", [
    "Basic Ym9iOmJvYg==", "Basic YWRtaW46", "bearer abc123", "Bearer abcdefghijklmnopqrstuvwxyz", "BEARER aBcdef",
    "Bearer abc.d3f", "Bearer abc_def", "Bearer abc-1",
])  # fmt: skip
def test_what_looks_like_credentials_is_masked(credentials: str) -> None:
    assert hiding.text(f"not {credentials} here", ()) == f"not {MASK} here"


@rows("between", [": ", '": "', "="])
def test_in_a_header_any_word_is_a_credential(between: str) -> None:
    assert hiding.text(f"Authorization{between}Bearer sesame", ()) == f"Authorization{between}{MASK}"


def test_where_a_text_was_cut_words_that_are_shown_anyway_shorten_it_no_further() -> None:
    known = hiding.spellings_of([hiding.Text("<password>x1</password>", "a-long-word-that-is-shown@example.org")])
    assert hiding.beginning("no such user, sorry.", known, 19) == "no such user, sorry"


def test_of_basic_the_password_is_known_and_not_the_user() -> None:
    coded = base64.b64encode(b"administrator:sekret12345").decode()
    known = hiding.login_spellings([("Authorization", f"Basic {coded}")])
    assert hiding.mask_secrets(f"administrator sekret12345 {coded}", known) == f"administrator {MASK} {MASK}"


def test_a_ticket_of_many_kilobytes_hides_nothing_but_itself() -> None:
    ticket = base64.b64encode(bytes(range(256)) * 50).decode()
    known = hiding.login_spellings([("Authorization", f"Negotiate {ticket}")])
    assert hiding.mask_secrets(f"not {ticket} again", known) == f"not {MASK} again"


@given(
    st.lists(st.tuples(st.from_regex(r"[a-z]{1,5}", fullmatch=True), printable), min_size=1, max_size=12),
    st.sampled_from(["; ", ";", ", ", ","]),
)
def test_each_secret_of_a_cookie_is_found(pairs: list[tuple[str, str]], between: str) -> None:
    plain = [(name, value.translate({ord(one): "." for one in " ;,\"'"})) for name, value in pairs]
    known = hiding.login_spellings([("Cookie", between.join(f"{name}={value}" for name, value in plain))])
    for _, value in plain:
        assert hiding.mask_secrets(f"<{value}>", known) == f"<{MASK}>"


def test_the_logins_of_a_dozen_headers_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    spellings_of = Mock(side_effect=hiding.spellings_of)
    monkeypatch.setattr(hiding, "spellings_of", spellings_of)
    logins = [(f"X-Token-{other}", f'Token a="{other}-once-é+/<sekret"') for other in range(12)]
    hiding.login_spellings(logins)
    at_first = spellings_of.call_count
    for _ in range(10):
        hiding.login_spellings(logins)
    assert spellings_of.call_count == at_first > 0


def as_numbers(form: str) -> Callable[[str], str]:
    return lambda text: "".join(form.format(ord(one)) for one in text)


def of_bytes(form: str) -> Callable[[str], str]:
    return lambda text: "".join(form.format(one) for one in text.encode())


def in_base64(coding: str, form: Literal["NFC", "NFD"]) -> Callable[[str], str]:
    return lambda text: base64.b64encode(f"a:{unicodedata.normalize(form, text)}".encode(coding)).decode()


WAYS: dict[str, Callable[[str], str]] = {
    "percent-encoded, in mixed letters": lambda text: quote(text, safe="").replace("%C3", "%c3"),
    "percent-encoded, each character": of_bytes("%{:02x}"),
    "percent-encoded three times": lambda text: quote(quote(quote(text, safe=""), safe=""), safe=""),
    "percent-encoded as Latin-1": lambda text: quote(text.encode("latin-1"), safe=""),
    "as decimal numbers of XML": as_numbers("&#{};"),
    "as hexadecimal numbers of XML": as_numbers("&#x{:04X};"),
    "as names of HTML": lambda text: "".join(f"&{codepoint2name.get(ord(one), f'#{ord(one)}')};" for one in text),
    "in HTML in JSON in HTML": lambda text: escape(json.dumps(escape(text))[1:-1]),
    "as numbers of JSON, in mixed letters": lambda text: as_numbers("\\u{:04x}")(text).replace("e", "E", 1),
    "as JSON in JSON in JSON": lambda text: json.dumps(json.dumps(json.dumps(text)))[7:-7],
    "as Ruby writes it": as_numbers("\\u{{{:X}}}"),
    "as Erlang writes it": as_numbers("\\x{{{:X}}}"),
    "as Python's bytes": of_bytes("\\x{:02x}"),
    "as Lua's bytes": of_bytes("\\{:03}"),
    "as Erlang's bytes": of_bytes("\\{:03o}"),
    "as Erlang's list of bytes": lambda text: f"<<{of_bytes('{},')(text)[:-1]}>>",
    "as Erlang's list on lines in JSON": lambda text: json.dumps(
        f"<<{of_bytes('{},')(text)[:-1]}>>".replace(",", ",\n ")
    )[1:-1],
    "as UTF-8 that was read as Latin-1": lambda text: text.encode().decode("latin-1"),
    "as Latin-1 that was read as UTF-8": lambda text: text.encode("latin-1").decode("utf-8", "replace"),
    "without what ASCII has not": lambda text: text.encode("ascii", "replace").decode(),
}


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@rows("form", ["NFC", "NFD"])
@rows("way", WAYS)
@rows("secret", ["P\u00e4ss w\u00f6rd&<4711>", "\u00e9/x+y'z\"\u00fc", "\u00fcb3r"])
def test_a_secret_is_found_however_it_is_escaped(secret: str, way: str, form: Literal["NFC", "NFD"]) -> None:
    told = hiding.text(f"no, {WAYS[way](secret)} is wrong", [unicodedata.normalize(form, secret)])
    assert told == f"no, {MASK} is wrong"


@rows("secret", ["+_(=='\\5%b14?9", "\\\\@1YX._0f$'+1%Y9:!\"(?.@", "/ %13X/2~#c;f*)="])
def test_a_secret_with_what_looks_like_an_escape_is_found_among_escapes(secret: str) -> None:
    for told in (escape(escape(secret)), quote(escape(escape(secret))), json.dumps(secret.replace("/", "\\/"))[1:-1]):
        assert hiding.text(f"no, {told} is wrong", [secret]) == f"no, {MASK} is wrong"


@rows("way", [lambda told: json.dumps(told, ensure_ascii=False)[1:-1], lambda told: escape(escape(told))])
def test_what_looks_like_an_escape_only_in_other_code_points_is_found_too(way: Callable[[str], str]) -> None:
    secret = 'z"c\u00f69/0%d\u00e4<b=>'
    told = way(unicodedata.normalize("NFD", secret))
    assert hiding.text(f"no, {told} is wrong", [secret]) == f"no, {MASK} is wrong"


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@rows("repeated", ["NFC", "NFD"])
@rows("way", [str, quote, escape, ascii, in_base64("utf-8", "NFD"), in_base64("latin-1", "NFC")])
def test_a_secret_is_found_in_other_code_points(repeated: Literal["NFC", "NFD"], way: Callable[[str], str]) -> None:
    secret = "P\u00e4ssw\u00f6rd-4711"
    given_secret = unicodedata.normalize("NFD" if repeated == "NFC" else "NFC", secret)
    told = hiding.text(f"no, {way(unicodedata.normalize(repeated, secret))}!", [given_secret])
    assert MASK in told
    assert not [part for part in ("4711", "ssw", "LTQ3", "00Nz", "tNDc") if part in told]


@pytest.mark.parametrize("is_ascii", [True, False])
def test_a_secret_is_found_in_the_base64_of_json_that_escapes_it(is_ascii: bool) -> None:
    body = json.dumps({"user": "a", "password": 's\u00e9same-"4711"'}, ensure_ascii=is_ascii)
    told = hiding.text(base64.b64encode(body.encode()).decode(), ['s\u00e9same-"4711"'])
    assert MASK in told
    assert not [part for part in ("FtZS", "hbWU", "YW1l", "NDcx", "Q3MT", "0Nz") if part in told]


@given(st.text(st.sampled_from('a%&\\u0041;#xc3\u00c3\u00a4"{}n'), max_size=40), st.text(max_size=3))
def test_what_is_no_secret_stays_as_it_came_whatever_it_looks_like(text: str, more: str) -> None:
    assert hiding.mask_secrets(text + more, hiding.spellings_of(["sesame-4711"])) == text + more


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@rows(
    ("told", "shown"),
    [
        ("set('bob', 's\u00e9same-47...')", "set('bob', '***...')"),
        ("s\u00e9same-47\u2026 is wrong", "***\u2026 is wrong"),
        ("...ame-4711' is wrong", "...***' is wrong"),
        ("\u2026ame-4711, ...same-4711", "\u2026***, ...***"),
        ('"password":"s\u00e9same-47"[truncated 9 chars]', '"password":"***"[truncated 9 chars]'),
        (r'{"a": "\"s\u00e9same-47\"[truncated 9 chars]"}', r'{"a": "\"***\"[truncated 9 chars]"}'),
        ("{'s\u00e9same-4...-4711'}, s\u00e9sames\u00e9same-4[...]", "{'***...-4711'}, s\u00e9same***[...]"),
        ("'s\u00e9same-'... 4 more characters", "'***'... 4 more characters"),
        ("s%C3%A9same-4&hellip;", "***&hellip;"),
        ("s\u00e9same-4 ..., 's\u00e9same-4' ... and s\u00e9same-4(...)", "*** ..., '***' ... and ***(...)"),
        ("s\u00e9same-47.. and s\u00e9same-4\u2025", "***.. and ***\u2025"),
        ("s\u00e9same-4(truncated), s\u00e9same-4 (truncated)", "***(truncated), *** (truncated)"),
        ("s\u00e9same-4<...>, s\u00e9same-4&lt;...&gt;", "***<...>, ***&lt;...&gt;"),
        ("(...) same-4711, <...>same-4711", "(...) ***, <...>***"),
        (
            "s\u00e9same[truncated 4 chars]e-4711, ... (5 more bytes) e-4711",
            "***[truncated 4 chars]***, ... (5 more bytes) ***",
        ),
        ("'...'same-4711", "'...'***"),
        ("...ame-47..., ...same-4...", "...***..., ...***..."),
        ("s\u00e9same-4[Truncated], s\u00e9same-4{...}", "***[Truncated], ***{...}"),
        ("s\u00e9same-4[9 chars truncated]", "***[9 chars truncated]"),
        ("s\u00e9same-4... (12,345 chars), ...(+9 chars)same-4711", "***... (12,345 chars), ...(+9 chars)***"),
        ("... 'same-4711'", "... '***'"),
        ("%5Btruncated+9+chars%5Dsame-4711", "%5Btruncated+9+chars%5D***"),
        ("<<115,195,169,115,97,109,101,45,...>> and <<1,...>>", "*** and <<1,...>>"),
        (
            "s\u00e9sam... and s\u00e9same-47 and the rest... -4711",
            "s\u00e9sam... and s\u00e9same-47 and the rest... -4711",
        ),
    ],
)
def test_what_is_left_of_a_secret_that_a_server_cut_is_masked(told: str, shown: str) -> None:
    assert hiding.text(told, ["s\u00e9same-4711"]) == shown
    assert hiding.text(told, ["another-s\u00e9same"]) == told


def test_a_long_fragment_is_masked_to_its_end() -> None:
    token = random.Random(5).randbytes(1500).hex()
    for told in (f"bad token: {token[:2500]}... x", f"bad: ...{token[-2500:]} x", f"bad: ...{token[9:2500]}... x"):
        assert not re.search(r"[0-9a-f]{6}", hiding.text(told, [token], 20_000))


def test_a_plus_beside_a_mark_is_the_secrets_own_or_the_blank_of_a_form() -> None:
    assert hiding.text("bad p w/x+(...), (...)+z=123", ["p w/x+y+z=123"]) == "bad ***(...), (...)***"
    assert hiding.text("bad+Sh4redS3c+..., ...+cret9%21", ["Sh4redS3cret9!"]) == "bad+***+..., ...+***"


def test_a_part_is_masked_also_where_all_is_shorter_than_the_secret_and_the_mark_is_escaped() -> None:
    assert hiding.text(r"sesame-4\u2026", ["sesame-4711-open"]) == r"***\u2026"


_LIST = "%3C%3C" + ",+".join(map(str, b"horse/+battery=")) + "%3E%3E"


@rows(
    "told",
    ["horse%2F&#43;battery%3D", r"horse%2F\u002bbattery%3D", "horse%5C%2F%2Bbattery%3D", "horse%2F+battery=", _LIST],
)
def test_a_blank_that_a_form_made_a_plus_is_found_whatever_was_escaped_then(told: str) -> None:
    assert hiding.mask_secrets(f"e: {told} z", hiding.spellings_of(["horse/ battery="])) == "e: *** z"


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@rows("way", ["as decimal numbers of XML", "percent-encoded three times"])
def test_of_words_that_are_far_longer_than_what_is_shown_no_escaped_secret_is(way: str) -> None:
    secret = "s\u00e9same-4711"
    told = hiding.text(f"no {WAYS[way](secret)} {'x' * 70_000}", [secret])
    assert told.startswith(f"no {MASK} x")
    assert len(told) == hiding.EXCERPT_LIMIT


@rows("way", WAYS)
def test_of_a_text_that_was_cut_no_beginning_of_a_secret_is_left_however_it_is_escaped(way: str) -> None:
    known = hiding.spellings_of(["s\u00e9same-4711"])
    text = "." * 1000 + WAYS[way]("s\u00e9same-4711")
    for size in range(1001, len(text)):
        assert hiding.beginning(text, known, size).strip(".") == ""


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@pytest.mark.parametrize(
    "form", ["\\u{:04x}", "&#{};", "&amp;#{};", "&amp;amp;amp;#{};", "%252525{:x}", "\\\\\\\\u{:04x}"]
)
def test_of_a_long_login_no_beginning_is_left_where_its_escaped_form_was_cut(form: str) -> None:
    token = (f"eyJ{random.Random(form).randbytes(150).hex()}")[:300]
    known = hiding.login_spellings([("Authorization", f"Bearer {token}")])
    text = as_numbers(form)(token)
    for size in (*range(1, 20), *range(20, len(text), 331), *range(len(text) - 8, len(text))):
        cut = "z" * (16_384 - size) + text[:size]
        shown = hiding.beginning(cut + text[size:] + "z", known)
        assert shown.strip("z") == "", size
        assert len(shown) > 2000, size


def test_a_cut_text_of_nothing_but_a_secret_leaves_no_beginning_of_the_last_one() -> None:
    known, told = hiding.spellings_of(["s\u00e9same-4711"]), as_numbers("&amp;amp;amp;#{};")("s\u00e9same-4711")
    for size in range(16_384 - len(told), 16_384, 5):
        assert hiding.beginning(told * 200, known, size).replace(MASK, "") == ""


def test_where_a_refusal_was_cut_its_beginning_is_left_however_the_login_may_be_escaped() -> None:
    known = hiding.login_spellings([("Authorization", "Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.e30")])
    assert hiding.beginning("Bad gateway".ljust(20_000), known).startswith("Bad gateway ")


def test_where_very_many_secrets_are_looked_for_in_very_many_texts_the_last_are_hidden_as_a_whole() -> None:
    """Five thousand spellings in each text of a job: 23 s of one of a mebibyte (measured)."""
    hide = hiding.make_hide(f'c/"{number}é' for number in range(150))
    shown = hiding.hide_everywhere([f"a text, {number}" for number in range(2000)], hide, 99)
    assert isinstance(shown, list)
    assert (shown[0], shown[-1]) == ("a text, 0", MASK)
    assert hide('c/"7é', 99) == MASK


_PIECES = st.sampled_from(
    [
        *"abz019+/=_-%&<>\"'\\\tü☂{}[]|:;. \n",
        "sesame",
        "4711",
        "...",
        "…",
        "Basic ",
        "://u:",
        "@h",
        "&lt;",
        "%41",
        "1.5e3",
    ]
)
_PIECES_OF_TEXT = st.lists(_PIECES, max_size=8).map("".join)


@given(st.lists(_PIECES_OF_TEXT, min_size=1, max_size=3), st.lists(_PIECES_OF_TEXT, max_size=4), st.data())
def test_what_is_certain_to_be_left_as_it_is_is_left(secrets: list[str], texts: list[str], data: st.DataObject) -> None:
    every = sorted(spelling for spelling, _ in hiding.spellings_of(secrets))
    if every:
        texts.append(data.draw(_PIECES_OF_TEXT) + data.draw(st.sampled_from(every)) + data.draw(_PIECES_OF_TEXT))
    hide = hiding.make_hide(secrets)
    for some in (texts, *([text] for text in texts)):
        if hiding.leaves_unchanged(some, secrets, frozenset()):
            assert [hide(text, 2000) for text in some] == some
