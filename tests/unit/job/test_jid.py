"""Addresses as servers keep them. What Prosody itself makes of each letter is compared in tests/servers."""

import stringprep

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job.jid import BadAddress, BareJid, fold_case, is_plain, printable, read_bare, unprintable
from tests.support.rows import rows

ANYTHING = st.text(max_size=12) | st.text("aA@/. -[]:\u00e9\u0130\u05d0\u00df\u212b\udc80\x00", max_size=12)


def tried(text: str) -> BareJid | BadAddress:
    try:
        return read_bare(text)
    except BadAddress as error:
        return error


@rows(("text", "local", "domain"), [
    ("ann@example.org", "ann", "example.org"),
    ("example.org", None, "example.org"),
    ("j.o_h-n+1@a_b.c", "j.o_h-n+1", "a_b.c"),
    ("%3f?#@localhost", "%3f?#", "localhost"),
    ("jörg@münchen.example", "jörg", "münchen.example"),
    ("李@例子.測試", "李", "例子.測試"),
    ("a@[::1]", "a", "[::1]"),
    ("a@127.0.0.1", "a", "127.0.0.1"),
    ("דנה@example.org", "דנה", "example.org"),
])  # fmt: skip
def test_an_address_in_a_servers_own_form_is_taken_apart(text: str, local: str | None, domain: str) -> None:
    assert read_bare(text) == BareJid(local, domain)
    assert str(BareJid(local, domain)) == text


@rows(("text", "why", "hint"), [
    ("Ann@example.org", "is not in lower case", "Write ann@example.org."),
    ("ann@Example.org", "is not in lower case", "Write ann@example.org."),
    ("JÖRG@A.B", "is not in lower case", "Write jörg@a.b."),
    ("Ann@a..b", "is not in lower case", ""),
    ("ŞULE@a.b", "is not in lower case", "Write şule@a.b."),
    ("straße@a.b", "is not in the form that servers store", "Write strasse@a.b."),
    ("ﬁn@a.b", "is not in the form that servers store", "Write fin@a.b."),
    ("a\u0308@a.b", "is not in the form that servers store", "Write ä@a.b."),
    ("a\u00ad@a.b", "is not in the form that servers store", "Write a@a.b."),
    ("a@ex。org", "is not in the form that servers store", "Write a@ex.org."),
    ("Ꙁ@a.b", "is not in lower case", "Write ꙁ@a.b."),
    ("ann@a.b/phone", "has a resource", "Write ann@a.b."),
])  # fmt: skip
def test_name_a_server_would_rewrite_is_refused_with_advice(text: str, why: str, hint: str) -> None:
    with pytest.raises(BadAddress) as refused:
        read_bare(text)
    assert (refused.value.why, refused.value.hint) == (why, hint)


@rows(("text", "hint"), [
    ("Ꙁ@a.b", "Write ꙁ@a.b."),
    ("ẞ@a.b", "Write ss@a.b."),
    ("Ϲ@a.b", "Write σ@a.b."),
])  # fmt: skip
def test_letter_newer_than_the_tables_is_small_in_any_python(
    text: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Debian's Python has it since 3.11.2-6+deb12u9.
    monkeypatch.setitem(stringprep.b3_exceptions, ord(text[0]), text[0])
    with pytest.raises(BadAddress) as refused:
        read_bare(text)
    assert refused.value.hint == hint
    assert fold_case(text) == hint.removeprefix("Write ").removesuffix(".")


@rows(("text", "why"), [
    ("", "has no domain"),
    ("@a.b", "has nothing before the @"),
    ("a@", "has no domain"),
    ("a@@b", "has more than one @"),
    ("a b@c.d", "has U+0020 in a user's name"),
    ("a'b@c.d", "has ' in a user's name"),
    ("a:b@c.d", "has : in a user's name"),
    ("a\n@c.d", "has the character U+000A, which no address may have"),
    ("a@c.d\x7f", "has the character U+007F, which no address may have"),
    ("a\udc80@c.d", "has the character U+DC80, which no address may have"),
    ("a\u0378@c.d", "has the character U+0378, which no address may have"),
    ("a@c..d", "has an empty part in its domain"),
    ("a@c.d.", "has an empty part in its domain"),
    ("a@-c.d", "has an invalid domain"),
    ("a@[::x", "has a domain in brackets that is not an IPv6 address"),
    ("a@c d", "has an invalid domain"),
    ("a@[x]", "has a domain in brackets that is not an IPv6 address"),
    ("a\u06dd@c.d", "has characters that an address may not have, or in a forbidden order"),
    ("אa@c.d", "has characters that an address may not have, or in a forbidden order"),
    ("אࢴ1@c.d", "has characters that an address may not have, or in a forbidden order"),
    ("\u08b4a@c.d", "mixes letters that are written from left to right with others"),
    ("a@" + "c" * 64, "has a part of more than 63 bytes in its domain"),
    ("a" * 1024 + "@c.d", "has a part of more than 1023 bytes"),
    ("é" * 512 + "@c.d", "has a part of more than 1023 bytes"),
])  # fmt: skip
def test_name_no_server_can_have_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadAddress) as refused:
        read_bare(text)
    assert refused.value.why == why


@given(ANYTHING)
def test_accepted_name_is_small_whole_and_visible(text: str) -> None:
    bare = tried(text)
    if isinstance(bare, BadAddress):
        assert unprintable(bare.why + bare.hint) is None
        return
    assert str(bare) == text
    assert text == text.lower()
    assert unprintable(text) is None
    assert "/" not in text
    assert text.count("@") == (bare.local is not None)
    text.encode()


@given(ANYTHING)
def test_name_an_error_suggests_is_accepted(text: str) -> None:
    refused = tried(text)
    if isinstance(refused, BadAddress) and refused.instead:
        again = tried(refused.instead)
        assert isinstance(again, BareJid) or again.instead not in (text, refused.instead), "it comes nearer each time"


@given(st.from_regex(r"[a-z0-9_.+@/-]{1,40}", fullmatch=True) | ANYTHING)
def test_plain_name_is_accepted_by_the_tables_too(text: str) -> None:
    if is_plain(text):
        assert str(read_bare(text)) == text


def test_text_is_shown_in_one_line_without_terminal_controls() -> None:
    assert printable("a\x1b[1m\nb\udc80") == "a\\u001b[1m\\u000ab\\udc80"
    assert printable("a" * 90) == "a" * 80 + "…"
