"""What servers make of a secret when they repeat it: none is shown, and what is no secret is."""

import base64
import json
import random
import re
import time
import unicodedata
from collections.abc import Callable
from html import escape
from html.entities import codepoint2name
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from restbroker.job import hiding
from restbroker.job.hiding import HIDDEN, MASK
from tests.support.rows import rows

SECRETS = {
    "letters": "sesame4711",
    "signs": "s3cr+et/Sh4red!==",
    "quotes": 'it\'s "p4ss" & <word>',
    "percent signs": "50%25 of %41bcdef",
    "umlauts": "Pässwörd für Zoë",
    "other letters": "パスワード-4711-пароль",
    "beyond the first plane": "key🔑and🔒more",
    "line breaks": "first\nsecond\tthird",
    "backslashes": "a\\u0041b\\n\\\\c\\x41z",
    "entities": "x&amp;y&#97;z&lt;w",
    "an object": '{"user": "a", "pin": 4711}',
}


def as_numbers(form: str) -> Callable[[str], str]:
    return lambda text: "".join(form.format(ord(char)) for char in text)


def of_bytes(form: str) -> Callable[[str], str]:
    return lambda text: "".join(form.format(byte) for byte in text.encode())


def in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def in_json_beside(signs: str, form: str) -> Callable[[str], str]:
    """In JSON of a server that writes these signs as numbers as well."""
    return lambda text: "".join(f"\\u{ord(char):{form}}" if char in signs else char for char in in_json(text))


def in_html_with(quotation: str, apostrophe: str, plus: str = "+") -> Callable[[str], str]:
    return lambda text: escape(text, quote=False).replace('"', quotation).replace("'", apostrophe).replace("+", plus)


def in_base64(text: str) -> str:
    return base64.b64encode(f"a:{text}".encode()).decode()


WAYS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": in_json,
    "JSON of UTF-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON of PHP": lambda text: in_json(text).replace("/", "\\/"),
    "JSON of Go and Rails": in_json_beside("<>&", "04x"),
    "JSON of Gson": in_json_beside("<>&='", "04x"),
    "JSON of ASP.NET": in_json_beside("<>&'+`", "04X"),
    "JSON in JSON": lambda text: in_json(in_json(text)),
    "HTML": escape,
    "HTML of PHP": in_html_with("&quot;", "&#039;"),
    "HTML of Go": in_html_with("&#34;", "&#39;", "&#43;"),
    "HTML of ASP.NET": in_html_with("&quot;", "&#x27;", "&#x2B;"),
    "HTML in HTML": lambda text: escape(escape(text)),
    "decimal numbers of XML": as_numbers("&#{};"),
    "hexadecimal numbers of XML": as_numbers("&#x{:04X};"),
    "names of HTML": lambda text: "".join(f"&{codepoint2name.get(ord(char), f'#{ord(char)}')};" for char in text),
    "URL": quote,
    "URL with all signs": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "URL in small letters": lambda text: re.sub("%..", lambda one: one[0].lower(), quote(text, safe="")),
    "URL, each character": of_bytes("%{:02x}"),
    "URL in a URL": lambda text: quote(f"/x?a={quote(text, safe='')}", safe=""),
    "form in a form in a form": lambda text: quote_plus(quote_plus(quote_plus(text))),
    "HTML in JSON in a URL": lambda text: quote(in_json(escape(text))),
    "bytes of Python": of_bytes("\\x{:02x}"),
    "bytes of Lua": of_bytes("\\{:03}"),
    "bytes of Erlang": of_bytes("\\{:03o}"),
    "a list of Erlang": lambda text: f"<<{of_bytes('{},')(text)[:-1]}>>",
    "Ruby": as_numbers("\\u{{{:X}}}"),
    "UTF-8 read as Latin-1": lambda text: text.encode().decode("latin-1"),
    "base64": in_base64,
    "base64 of URLs": lambda text: base64.urlsafe_b64encode(f"a:{text}".encode()).decode(),
    "base64 in a URL": lambda text: quote(in_base64(text), safe=""),
    "other code points": lambda text: unicodedata.normalize("NFD", text),
    "cut": lambda text: f"{text[:7]}...",
    "cut in JSON": lambda text: in_json(f"{text[:7]}…"),
}


def leaks(shown: str, secret: str, spell: Callable[[str], str]) -> bool:
    """Return whether six characters in a row of how the secret is repeated are left, that others have not as well."""
    if shown == HIDDEN:
        return False
    spelling, other = spell(secret), spell("~" * len(secret.encode())) + "Q%3D%3D w%3D%3D"
    pieces = {spelling[at : at + 6] for at in range(len(spelling) - 5)}
    return MASK not in shown or any(piece in shown and piece not in other for piece in pieces)


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_shown_in_none_of_the_ways_of_repeating_it(secret: str) -> None:
    shown = {way: hiding.text(f"no, <{spell(secret)}> is wrong", [secret]) for way, spell in WAYS.items()}
    assert {way: text for way, text in shown.items() if leaks(text, secret, WAYS[way])} == {}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_secret_is_masked_in_place_in_json_url_html_and_base64(secret: str) -> None:
    for way in ("as it is", "JSON", "JSON of UTF-8", "JSON of PHP", "HTML", "URL", "URL with all signs", "form"):
        assert hiding.text(f"no, <{WAYS[way](secret)}> is wrong", [secret]) == f"no, <{MASK}> is wrong", way
    assert hiding.text(f"no, {in_base64(secret)} is wrong", [secret]).startswith("no, YT")


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=6, max_size=20),
    st.lists(
        st.sampled_from([spell for way, spell in WAYS.items() if " in " not in way or "letters" in way][:18]),
        min_size=1,
        max_size=2,
    ),
)
def test_no_secret_survives_two_ways_one_within_the_other(secret: str, ways: list[Callable[[str], str]]) -> None:
    assume(len(secret.strip()) >= 6 and "*" not in secret and len(set(secret)) > 2)
    spelling = secret
    for way in ways:
        spelling = way(spelling)
    shown = hiding.text(f"no, {spelling} is wrong", [secret], 2000)
    assert shown == HIDDEN or (MASK in shown and spelling not in shown)


def test_hidden_text_says_so_and_one_without_secret_is_shown() -> None:
    assert hiding.text("no, \\x73esame4711 is wrong", ["sesame4711"]) == HIDDEN
    for text in ("no, \\x74esame4711 &amp; %41", "no... sesam 4711", "<<1,2>> %zz &x; \\u12", "Zoë & Ãx", "a+b"):
        assert hiding.text(text, ["sesame4711"]) == text


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@rows("text", ["sesame-47...", "(sesame-)...", "sesame-4[truncated 9 chars]", "sesame-4\\u2026", "sesame-47\u2025"])
def test_text_with_the_beginning_of_a_cut_secret_is_hidden(text: str) -> None:
    assert hiding.text(f"no {text}", ["sesame-4711"]) == HIDDEN


# Of three letters behind a name of another length less than four characters are the secret's alone.
@rows("login", ["ad:b0b", "ad:pa5s", "adm:pa5s", "admi:pa5s"])
def test_a_secret_of_three_or_four_letters_is_found_in_base64(login: str) -> None:
    coded = base64.b64encode(login.encode()).decode()
    assert MASK in hiding.text(f"got {coded}", [login.partition(":")[2]])


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@rows(
    ("value", "text"),
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
def test_the_secret_part_of_a_header_is_found_also_alone(value: str, text: str) -> None:
    known = hiding.login_spellings([("X-Auth", value)], frozenset({"x-auth"}))
    assert hiding.make_hide((), known)(f"{text} has expired", 100) == f"{MASK} has expired"


@rows(
    ("value", "text"),
    [
        ("session=C00KIE-canary-1; language=en", "the session and language en"),
        ('Signature algorithm="ed", expires="1"', "Signature, algorithm= and expires"),
        ("Negotiate sekret12345", "Negotiate failed"),
        ("Bearer five5, six", "five5 of six"),
    ],
)
def test_harmless_part_of_a_header_is_shown(value: str, text: str) -> None:
    known = hiding.login_spellings([("Cookie", value)])
    assert known
    assert hiding.make_hide((), known)(text, 100) == text


def test_secret_headers_of_a_connector_join_those_named_so() -> None:
    headers = [("X-Auth", "first-s3cret"), ("Api-Token", "second-s3cret"), ("Accept", "third-value")]
    text = "first-s3cret second-s3cret third-value"
    assert hiding.mask_secrets(text, hiding.login_spellings(headers)) == f"first-s3cret {MASK} third-value"
    assert (
        hiding.mask_secrets(text, hiding.login_spellings(headers, frozenset({"x-auth"})))
        == f"{MASK} {MASK} third-value"
    )


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("no Bearer 4711|SESAMEquartz here", "4711|SESAMEquartz"),
        (r"Basic YWRtaW46UXU\/WX5afn4+OWExWD5hY2JaMVg=", "YWRtaW46UXU/WX5afn4+OWExWD5hY2JaMVg="),
        ("http://admin:SESAME@QUARTZ@h/", "SESAME@QUARTZ"),
    ],
)
def test_credentials_ending_inside_a_secret_leave_nothing_of_it(text: str, secret: str) -> None:
    shown = hiding.text(text, [secret])
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
def test_lookalike_of_credentials_is_masked(credentials: str) -> None:
    assert hiding.text(f"not {credentials} here", ()) == f"not {MASK} here"


@rows("between", [": ", '": "', "="])
def test_in_a_header_any_word_is_a_credential(between: str) -> None:
    assert hiding.text(f"Authorization{between}Bearer sesame", ()) == f"Authorization{between}{MASK}"


def test_password_of_basic_is_secret_and_not_the_user() -> None:
    coded = base64.b64encode(b"administrator:sekret12345").decode()
    known = hiding.login_spellings([("Authorization", f"Basic {coded}")])
    assert hiding.mask_secrets(f"administrator sekret12345 {coded}", known) == f"administrator {MASK} {MASK}"


def test_a_ticket_of_many_kilobytes_hides_nothing_but_itself() -> None:
    ticket = base64.b64encode(bytes(range(256)) * 50).decode()
    known = hiding.login_spellings([("Authorization", f"Negotiate {ticket}")])
    assert hiding.mask_secrets(f"not {ticket} again", known) == f"not {MASK} again"


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@pytest.mark.parametrize(
    "form", ["\\u{:04x}", "&#{};", "&amp;#{};", "&amp;amp;amp;#{};", "%252525{:x}", "\\\\\\\\u{:04x}"]
)
def test_no_beginning_of_a_long_login_is_left_where_it_was_cut(form: str) -> None:
    token = (f"eyJ{random.Random(form).randbytes(150).hex()}")[:300]
    known = hiding.login_spellings([("Authorization", f"Bearer {token}")])
    text = as_numbers(form)(token)
    for size in (*range(1, 20), *range(20, len(text), 331), *range(len(text) - 8, len(text))):
        shown = hiding.beginning("z" * (16_384 - size) + text + "z", known)
        assert shown == HIDDEN or shown.strip("z") == "", size


def places_of_a_cut(spelling: str) -> list[int]:
    """How much of a spelling stands before the cut: every place near its ends, and many between."""
    return sorted({*range(1, 9), *range(9, len(spelling), 19), *range(len(spelling))[-4:]})


def is_nothing(shown: str, way: str) -> bool:
    """Whether nothing of a secret is left; base64 keeps some characters that are its neighbours', too."""
    piece = shown.strip("z…")
    if shown == HIDDEN or "base64" not in way:
        return shown == HIDDEN or WAYS[way]("").startswith(piece.rstrip("*"))
    return re.fullmatch(r"Y?T?\w{0,2}(\*+.{0,7})?", piece) is not None


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
@pytest.mark.parametrize("name", ["letters", "quotes", "umlauts", "beyond the first plane"])
def test_no_piece_is_left_where_an_excerpt_ends_in_a_secret(name: str) -> None:
    """In each spelling, at each place of the cut."""
    secret = SECRETS[name]
    hide = hiding.make_hide([secret])
    left = set[tuple[str, str]]()
    for way, spell in WAYS.items():
        spelling = spell(secret)
        for before in places_of_a_cut(spelling):
            shown = hide(("z" * 500)[before:] + spelling + "z" * 5000, 500)
            if not is_nothing(shown, way):
                left.add((way, shown.strip("z")))
    assert left == set()


LONG = "".join(random.Random(4711).choices("abcdefgh <'\"é0123", k=3000))


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
@pytest.mark.parametrize("secrets", [[LONG], [hiding.Bodies(frozenset([LONG]))]], ids=["secret", "message text"])
def test_no_piece_of_a_long_text_is_left_where_an_excerpt_ends(secrets: list[hiding.Secret]) -> None:
    hide = hiding.make_hide(secrets)
    for way, spell in WAYS.items():
        spelling = spell(LONG) if "cut" not in way else spell(LONG)[:40]
        for before in (1, 16, 17, 499):
            shown = hide(("z" * 500)[min(before, len(spelling)) :] + spelling + "z" * 5000, 500)
            assert is_nothing(shown, way), (way, before)


@rows("at", [0, 1, 8, 1000, 2047, 2048, 2984])
def test_sixteen_characters_in_a_row_show_a_long_text(at: int) -> None:
    for secrets in ([LONG], [hiding.Bodies(frozenset([LONG]))]):
        assert hiding.text(f"no {LONG[at : at + 16]}!", secrets) in (HIDDEN, f"no {MASK}!")
        assert hiding.text(f"no {quote(LONG[at : at + 16])}!", secrets) == HIDDEN
    assert hiding.text(f"no:{LONG[at : at + 15]}", [LONG]) == " ".join(f"no:{LONG[at : at + 15]}".split())


def test_a_long_text_is_masked_where_it_stands_as_a_whole() -> None:
    text = LONG.replace("é", "e")
    for spelling in (text, json.dumps(text)[1:-1], escape(text), quote(text)):
        assert hiding.text(f"no <{spelling}> here", [text], 20_000) in (f"no <{MASK}> here", HIDDEN)
    assert hiding.text(f"no <{text}> here", [text], 20_000) == f"no <{MASK}> here"


def test_long_secret_in_another_form_is_not_in_its_producers_answer() -> None:
    known = hiding.spellings_of([LONG])
    assert hiding.mask_in_place(f"<{LONG}> and {LONG[:15]}", known) == f"<{MASK}> and {LONG[:15]}"
    for form in (LONG[7:30], quote(LONG[5:99]), in_base64(LONG[:99]), of_bytes("\\x{:02x}")(LONG)):
        assert hiding.mask_in_place(f"<{form}>", known) == HIDDEN, form


def test_mark_of_a_cut_counts_also_far_behind_an_excerpt() -> None:
    text = "no sesame-47, " + "z" * 9000
    assert hiding.text(f"{text}...", ["sesame-4711"]) == HIDDEN
    assert hiding.text(text, ["sesame-4711"]).startswith("no sesame-47, z")


@rows("after", ["", "1", "%2", "10"])
def test_a_list_of_numbers_is_read_where_it_was_cut(after: str) -> None:
    listed = ",".join(str(byte) for byte in b"a sesame-4711")
    assert hiding.text(f"no <<{listed},{after}", ["sesame-4711"]) == HIDDEN
    assert hiding.text(f"no <<{quote(listed)}%2C{after}", ["sesame-4711"]) == HIDDEN


def test_cut_refusal_keeps_its_beginning_despite_escaped_logins() -> None:
    known = hiding.login_spellings([("Authorization", "Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.e30")])
    assert hiding.beginning("Bad gateway".ljust(20_000), known).startswith("Bad gateway ")


def test_text_too_long_to_be_read_is_hidden_if_it_has_an_escape() -> None:
    known = hiding.spellings_of(["sesame4711"])
    assert hiding.mask_secrets("x" * 70_000 + "\\x73esame4711", known) == HIDDEN
    assert hiding.mask_in_place("%41 sesame4711 " * 7000, known) == f"%41 {MASK} " * 7000


def test_beside_very_many_message_texts_nothing_is_shown() -> None:
    few, many = ([f"text {number}" for number in range(most)] for most in (200, 201))
    assert hiding.text("no such user", [hiding.Bodies(frozenset(few))]) == "no such user"
    assert hiding.text("no such user", [hiding.Bodies(frozenset(many))]) == HIDDEN


def test_secret_among_many_is_found_by_its_first_letters() -> None:
    secrets = [f"{number:03}-sesame/é" for number in range(150)]
    assert (
        hiding.text("no 007-sesame/é or pa5s or 150-sesame/é", [*secrets, "pa5s"])
        == f"no {MASK} or {MASK} or 150-sesame/é"
    )
    assert hiding.text("no 007-s\\x65same/é", secrets) == HIDDEN


def test_last_of_very_many_texts_are_hidden_as_a_whole() -> None:
    """Very many secrets are looked for."""
    hide = hiding.make_hide(f'c/"{number}é' for number in range(150))
    shown = hiding.hide_everywhere([f"a text, {number}" for number in range(2000)], hide, 99)
    assert isinstance(shown, list)
    assert (shown[0], shown[-1]) == ("a text, 0", MASK)
    assert hide('c/"7é', 99) == MASK


@rows("secrets", [[f"pässw0rd/{number}" for number in range(50_000)], ["é/" * 400_000]])
def test_more_secrets_than_can_be_looked_for_hide_the_text(secrets: list[str]) -> None:
    assert hiding.text(f"refused: {secrets[-1][:100]}\n{secrets[0][:100]}", secrets) == HIDDEN


@pytest.mark.promise("Security: who can push to the queues", "to crash or stall it")
@rows(("secret", "text"), [
    ("sesame-4711", "sesame-471" * 100_000),
    ("sesame-4711", "sesame-..." * 100_000),
    ("a" * 4000, "a" * 1_000_000),
    ("a" * 4000, ("a" * 3999 + "b...") * 250),
    ("ab" * 3000, "ab..." * 200_000),
    ("sesame-4711", "sesame-4711" * 90_000),
    ("a b c d e f", "a+b+c+" * 160_000),
    ("sesame-4711", "&#" * 500_000),
])  # fmt: skip
def test_a_text_of_a_megabyte_is_soon_looked_through(secret: str, text: str) -> None:
    hide = hiding.make_hide([secret])
    began_s = time.process_time()
    hide(text, 500)
    assert time.process_time() - began_s < 0.5, "a tenth of it on a quiet machine"


ESCAPED = "\\x41&amp;%2541\\u0041+ " * 1000


@pytest.mark.promise("Security: who can push to the queues", "to crash or stall it")
@rows(("secrets", "answer"), [
    ([hiding.Bodies(frozenset(["\\x41&amp;%41 " * 5000]))], ESCAPED),
    ([hiding.Bodies(frozenset(["wörd " * 12_000]))], ESCAPED),
    ([hiding.Bodies(frozenset(["wörd " * 12_000]))], "wörd " * 3000),
    (["\\x41&amp;%41 " * 5000], ESCAPED),
    ([f"{number:03}&{'a' * 70}" for number in range(200)], "a" * 20_000),
    ([hiding.Bodies(frozenset(f"t&{number}é" for number in range(200)))], ESCAPED),
])  # fmt: skip
def test_a_failing_job_of_60_kb_holds_up_nobody(secrets: list[hiding.Secret], answer: str) -> None:
    began_s = time.process_time()
    hide = hiding.make_hide(secrets)
    hide(answer, 500)
    assert time.process_time() - began_s < 0.1, "a fifth of it on a quiet machine"
