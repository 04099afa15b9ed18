"""How a secret may be written: in all spellings in which servers echo it, with patterns that find these in a text.

Used by `job.hiding`; `job.escapes` reads other escapes. Always holds: a secret of six characters or more is found
anywhere (plain, in base64, escaped as URLs, JSON, XML and bytes are).

A shorter secret is masked in texts only where it stands as a whole word, with no letter, digit or underscore beside it.
A part of a longer word is mostly there by chance: the password "bob" in "bobby@example.org". A mask there would hide
nothing, and "***by" next to the name would give the password away. As a whole word it is masked even at the risk of
such a guess, since a server that quotes a password quotes it whole. In base64, which is not mistaken for a word, four
characters are enough. Where its argument is shown, it is masked in any case.
"""

import base64
import contextlib
import json
import re
import unicodedata
from collections.abc import Iterator
from html import escape
from typing import TypeAlias
from urllib.parse import quote, quote_plus

from restbroker.job import escapes

SHORTEST_ANYWHERE = 6
_SHORTEST_BASE64 = 4
SURROGATE = re.compile("[\ud800-\udfff]")
Spelling: TypeAlias = tuple[str, str]
"""How a secret may be written, and the pattern that finds it where it is to be masked."""
FLOAT = re.compile(r"-?[0-9]{1,40}(?=[.eE])(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,4})?")
_MOST_ZEROS = 400
# A word begins behind an escape as well, though that ends with a letter or digit.
_WORD = r"(?:(?<!\w)|(?<=%[0-9A-Fa-f]{{2}})|(?<=%25[0-9A-Fa-f]{{2}})|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{{4}})){}(?!\w)"


_OF_URLS = str.maketrans("+/", "-_")


def spellings(secret: str) -> Iterator[Spelling]:
    """Yield all spellings of one secret."""
    for spelling in _escaped_spellings(secret) - {secret}:
        yield spelling, pattern_form(secret).format(re.escape(spelling))
    yield from unescaped_spellings(secret)


def unescaped_spellings(secret: str) -> Iterator[Spelling]:
    """Yield the spellings of one secret that need no decoding: plain, as numbers, as forms send it, and in base64."""
    whole = pattern_form(secret)
    if secret.strip():
        yield secret, whole.format(re.escape(secret))
    for number in _numbers(secret):
        yield number, rf"(?<![\w.]){re.escape(number)}(?!\w)"
    # In a form "+" is a blank, which a server may escape with the rest.
    forms = {" ".join(secret.split()), secret.replace(" ", "+")} - {secret, ""}
    if not secret.isascii():
        forms |= _forms(secret)
    for form in forms:
        yield form, whole.format(re.escape(form))
    raws = {form.encode("utf-8", "replace") for form in (secret, *forms)}
    if not (secret.isascii() and secret.replace(" ", "").isalnum()):
        yield from _read(secret, forms)
        # Of a text of JSON, as which it came, too.
        texts = (json.dumps(secret, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False))
        raws |= {text.encode("utf-8", "replace") for text in texts}
        with contextlib.suppress(UnicodeError):
            raws.add(unicodedata.normalize("NFC", secret).encode("latin-1"))
    for spelling in (one for raw in raws for one in base64_spellings(raw)):
        yield spelling, re.escape(spelling)


def _read(secret: str, forms: set[str]) -> Iterator[Spelling]:
    """Yield what a secret means whose own text looks escaped.

    It is unescaped with the escapes around it, or by the server.
    """
    for read in {read for form in (secret, *forms) for read in escapes.forms(form)} - {secret, *forms}:
        if read.strip():
            yield read, pattern_form(read).format(re.escape(read))


def pattern_form(spelling: str) -> str:
    """Return the form of the pattern that finds a spelling: anywhere, or as a whole word if it is short."""
    return "{}" if len(spelling) >= SHORTEST_ANYWHERE else _WORD


def _numbers(secret: str) -> set[str]:
    """Return the other spellings of a number with a fraction or exponent: `1.0e+21` of Ruby is `1e21` or `1.0E21`."""
    if not FLOAT.fullmatch(secret):
        return set()
    from decimal import Decimal  # slow to load, and few secrets are numbers

    number = Decimal(secret)
    digits, exponent = "".join(map(str, number.as_tuple().digits)).rstrip("0") or "0", number.adjusted()
    first = f"{'-' if number < 0 else ''}{digits[0]}"
    plain = {f"{number.normalize():f}", f"{number:f}"} if abs(exponent) < _MOST_ZEROS else set()
    mantissas = (f"{first}.{digits[1:]}",) if digits[1:] else (first, f"{first}.0")
    powers = {f"{exponent}", f"{exponent:+}", f"{exponent:+03}"}
    return plain | {f"{mantissa}{sign}{power}" for mantissa in mantissas for sign in "eE" for power in powers}


def _forms(secret: str) -> set[str]:
    """Return the text as other programs have it: in other code points, and with what they could not read or write."""
    composed = unicodedata.normalize("NFC", secret)
    found = {composed, *(unicodedata.normalize(form, secret) for form in ("NFD", "NFKC", "NFKD"))}
    for coding in ("latin-1", "ascii"):
        lossy = composed.encode(coding, "replace").decode("utf-8", "replace")
        # Of a text without Latin letters nothing is left to find.
        found |= {lossy} if any(one.isalnum() for one in lossy) else set()
    return found | {one.replace(" ", "+") for one in found}


def _escaped_spellings(secret: str) -> set[str]:
    """Return the usual escaped spellings, which may be cut within an escape; `job.escapes` reads all that are whole."""
    if not secret.strip():
        return set()
    if secret.isascii() and secret.isalnum():
        return {secret}
    raw = secret.encode("utf-8", "replace")
    ascii_json = json.dumps(secret)[1:-1]
    upper_json = re.sub(r"\\u[0-9a-f]{4}", lambda found: "\\u" + found[0][2:].upper(), ascii_json)
    plain_json = json.dumps(secret, ensure_ascii=False)[1:-1]
    quoted = {quote_plus(raw), quote(raw), quote(raw, safe="")}
    variants = {
        *(secret, ascii_json, upper_json, plain_json, escape(secret), escape(secret, quote=False)),
        *(one.replace("/", "\\/") for one in (ascii_json, plain_json)),
        *(re.sub("%..", lambda one: one[0].lower(), one) for one in quoted),
        *quoted,
    }
    # What lone surrogates became in the text, too.
    return {SURROGATE.sub("\ufffd", variant) for variant in variants} if SURROGATE.search(secret) else variants


def base64_spellings(raw: bytes) -> set[str]:
    """Return the bytes in base64, for each place where they may begin in what is encoded."""
    # In base64 of "user:secret" the secret has one of three alignments. The characters at its ends mix with those of
    # its neighbours: what lies between is searched for.
    found = set[str]()
    for offset in range(3) if len(raw) * 8 // 6 >= _SHORTEST_BASE64 else ():
        size = offset + len(raw)
        first = -(-offset * 8 // 6)
        last = size * 8 // 6
        text = base64.b64encode(b"\0" * offset + raw).decode()[first:last]
        if len(text) >= _SHORTEST_BASE64:
            found.add(text)
            if not text.isalnum():
                found |= {text.translate(_OF_URLS), quote(text, safe="")}
    return found
