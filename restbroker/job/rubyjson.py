"""JSON as Ruby reads and writes it, byte for byte.

Called for every payload that is read and for every one that must change. Always holds: `dumps` writes what `loads`
accepts, and Ruby's `JSON.parse` reads it; a payload that Ruby's poller cannot read would be taken out of `retry` or
`schedule` and lost. Sidekiq Web finds an entry again by parsing and rewriting it, so one byte of difference doubles the
job (`reschedule`, versions 6 to 8).

Measured with Ruby 3.1.2 and json 2.6.1; json 2.9.1 is equal.
"""

import json
import re
from collections.abc import Iterable
from itertools import accumulate
from math import isfinite
from typing import NoReturn, cast

import orjson

from restbroker.job.json_types import Json

MAX_NESTING = 100
"""Ruby's `max_nesting`, for reading and for writing."""

_BOM = b"\xef\xbb\xbf"
# The longest number that Python turns into an int; its time is quadratic beyond.
_MAX_DIGITS = 4300
# orjson turns integers of more than 64 bits into floats, silently: from 19 digits on they are read otherwise.
_LONG_NUMBER = b"0" * 19
# Every payload passes here: both are found so in 0.4 µs, where a regular expression takes 2.5 for the digits alone.
# What can stand before the digits of a number becomes a colon or a bracket, which those of an id in quotes do not have.
_SIMPLIFIED = bytes.maketrans(b"123456789{, \t\n\r-+.eE", b"000000000[" + b":" * 10)
_LONG_VALUE, _LONG_ITEM = b":" + _LONG_NUMBER, b"[" + _LONG_NUMBER
# Of text that is known to be JSON brackets are left, and what each does to the depth: to look at them one by one in
# Python held all up for four seconds for each 4 MiB.
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
# Pairs and other escapes are consumed first, so that group 1 is a surrogate without its other half.
_LONE_SURROGATE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
# Between these, orjson writes floats as Ruby does; beyond, there are exponents, and each language begins elsewhere.
_SMALLEST_USUAL, _USUAL_LIMIT = 1e-4, 1e15
_USUAL_LEAVES = frozenset({str, int, bool, type(None)})

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_quoted = json.encoder.encode_basestring


class Unreadable(ValueError):
    """Raised for bytes that are not JSON that Ruby could read and write again; it says what is wrong and where."""


def loads(raw: bytes) -> Json:
    """Return the value that `raw` describes; raise `Unreadable`, and nothing else, for bytes that describe none.

    A byte order mark is skipped (Ruby refuses it). Of equal keys the last wins, integers stay exact. Refused are NaN,
    Infinity, numbers beyond the range of a double, half surrogate pairs, nesting beyond 100, comments, and integers of
    more than 4300 digits.
    """
    text = raw.removeprefix(_BOM)
    simplified = text.translate(_SIMPLIFIED)
    if _LONG_NUMBER in simplified and (
        _LONG_VALUE in simplified or _LONG_ITEM in simplified or simplified.startswith(_LONG_NUMBER)
    ):
        value = _loads_exactly(text)
    else:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            # orjson reports bytes that are not UTF-8 as surrogates at the first character.
            _decode(text)
            raise Unreadable(str(error)) from None
    if simplified.count(b"[") > MAX_NESTING and not nests_at_most(MAX_NESTING, text):
        raise Unreadable(f"nested more than {MAX_NESTING} levels deep")
    return value


def object_of(raw: bytes) -> dict[str, Json] | None:
    """Return the object that `raw` describes; None if it describes another value, or is unreadable."""
    try:
        value = loads(raw)
    except Unreadable:
        return None
    return value if isinstance(value, dict) else None


def dumps(value: Json) -> bytes:
    """Return what Ruby's `JSON.generate` writes: no blanks, raw UTF-8, key order kept.

    `value` is made of dict and list.

    Raise `ValueError` for what Ruby refuses: NaN, Infinity, lone surrogates, nesting beyond 100.
    """
    if _is_usual((value,), MAX_NESTING):
        try:
            # Copied: orjson leaves 4 KiB behind a short text (3.13).
            return b"%b" % orjson.dumps(value)
        except TypeError:
            pass  # an integer beyond 64 bits, or half a surrogate pair
    try:
        raw = _generate(value).encode()
    except UnicodeEncodeError as error:
        raise ValueError("a string has half a surrogate pair, which UTF-8 cannot hold") from error
    except RecursionError:
        raise ValueError(f"nested more than {MAX_NESTING} levels deep") from None
    except ValueError as error:
        raise ValueError(f"a value cannot be written as JSON: {error}") from error
    if not nests_at_most(MAX_NESTING, raw):
        raise ValueError(f"nested more than {MAX_NESTING} levels deep")
    return raw


def _is_usual(values: Iterable[Json], levels: int) -> bool:
    """Tell whether orjson writes these values as Ruby does, and they nest at most `levels` deep.

    orjson takes a twentieth of the time.
    """
    for value in values:
        if type(value) in _USUAL_LEAVES:
            continue
        if isinstance(value, float):
            if value and not _SMALLEST_USUAL <= abs(value) < _USUAL_LIMIT:
                return False
        elif not levels:
            return False
        elif isinstance(value, dict):
            if not _is_usual(value.values(), levels - 1):
                return False
        elif not isinstance(value, list) or not _is_usual(value, levels - 1):
            return False
    return True


def nests_at_most(levels: int, text: bytes) -> bool:
    """Tell whether JSON text nests lists and objects at most `levels` deep. `text` is known to be JSON."""
    if text.count(b"[") + text.count(b"{") <= levels:
        return True
    brackets = _TEXT.sub(b"", text).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) <= levels


def float_text(number: float) -> str:
    """Return a finite float as Ruby's `Float#to_s` writes it: always with a fraction, the exponent with two digits.

    Both languages write the shortest digits that read back equal; they differ in where the exponent begins. Ruby's
    begins at 1e16, and for whole numbers at 1e15 already.
    """
    text = repr(number)
    if "e" in text:
        digits, _, exponent = text.partition("e")
        return text if "." in digits else f"{digits}.0e{exponent}"
    if abs(number) >= _USUAL_LIMIT and text.endswith(".0"):
        sign = "-" if number < 0 else ""
        digits = text.removeprefix("-").removesuffix(".0")
        return f"{sign}{digits[0]}.{digits[1:].rstrip('0') or '0'}e+{len(digits) - 1:02}"
    return text


def _generate(value: Json) -> str:
    match value:
        case float() if isfinite(value):
            return float_text(value)
        case dict():
            return "{" + ",".join(f"{_quoted(key)}:{_generate(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(_generate, value)) + "]"
        case str():
            return _quoted(value)
        case _:
            return _ENCODER.encode(value)


def _loads_exactly(raw: bytes) -> Json:
    text = _decode(raw)
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite_float, parse_int=_bounded_int)
    except json.JSONDecodeError as error:
        raise Unreadable(str(error)) from None
    except RecursionError:
        raise Unreadable(f"nested more than {MAX_NESTING} levels deep") from None
    if lone := next((found for found in _LONE_SURROGATE.finditer(text) if found[1]), None):
        raise Unreadable(f"half a surrogate pair, {lone[1]}, at character {lone.start()}")
    return cast("Json", value)


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8: byte 0x{raw[error.start]:02x} at byte {error.start}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise Unreadable(f"{name} is not JSON")


def _finite_float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Unreadable(f"the number {text[:20]} is too large")
    return number


def _bounded_int(text: str) -> int:
    if len(text.removeprefix("-")) > _MAX_DIGITS:
        raise Unreadable(f"an integer has more than {_MAX_DIGITS} digits")
    return int(text)
