"""What Ruby writes and reads, measured with Ruby 3.1.2 and json 2.6.1 (json 2.9.1 is equal)."""

import contextlib
import json
import math
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from restbroker.job import rubyjson
from restbroker.job.json_types import Json
from restbroker.job.rubyjson import Unreadable, dumps, loads, nests_at_most
from tests.support.rows import rows

# The bits of a double, and what JSON.generate wrote for it.
RUBY_FLOATS = [
    ("3ff0000000000000", "1.0"),
    ("0000000000000000", "0.0"),
    ("8000000000000000", "-0.0"),
    ("4059000000000000", "100.0"),
    ("3fb999999999999a", "0.1"),
    ("3f1a36e2eb1c432d", "0.0001"),
    ("3f202c9dedbc309d", "0.0001234"),
    ("3f1a36d1bd105b06", "9.9999e-05"),
    ("3ee4f8b588e368f1", "1.0e-05"),
    ("3eef75104d551d69", "1.5e-05"),
    ("bee4f8b588e368f1", "-1.0e-05"),
    ("42d6bcc41e900000", "100000000000000.0"),
    ("430c6bf526340000", "1.0e+15"),
    ("42dc12218377de66", "123456789012345.6"),
    ("430c6bf52633ffff", "999999999999999.9"),
    ("430c6bf526340004", "1000000000000000.5"),
    ("43118b54f22aeb00", "1.234567890123456e+15"),
    ("4340000000000000", "9.007199254740992e+15"),
    ("4341c37937e08000", "1.0e+16"),
    ("4341c37937e07fff", "9.999999999999998e+15"),
    ("4376345785d8a000", "1.0e+17"),
    ("434aa535d3d0c000", "1.5e+16"),
    ("4345ee2a2eb5a5c4", "1.2345678901234568e+16"),
    ("4415af1d78b58c40", "1.0e+20"),
    ("7e41eb2d66005835", "1.5e+300"),
    ("0000000000000001", "5.0e-324"),
    ("0010000000000000", "2.2250738585072014e-308"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("c341c37937e08000", "-1.0e+16"),
    ("41d954fc4007e6b4", "1700000000.123456"),
    ("40091eb851eb851f", "3.14"),
    ("4480f0cf064dd592", "1.0e+22"),
    ("44b52d02c7e14af6", "1.0e+23"),
    ("54b249ad2594c37d", "1.0e+100"),
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


@rows(("bits", "text"), RUBY_FLOATS)
def test_floats_are_written_as_ruby_writes_them(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert dumps([number]) == f"[{text}]".encode()


@rows(("value", "text"), [
    ("\x00\x01\b\t\n\x0b\f\r\x1f", r'"\u0000\u0001\b\t\n\u000b\f\r\u001f"'),
    ('a/b"\\', r'"a/b\"\\"'),
    ("\x7f\x80\u2028\u2029é😀", '"\x7f\x80\u2028\u2029é😀"'),
    ({"b": 1, "a": [None, True, False, {}]}, '{"b":1,"a":[null,true,false,{}]}'),
    (2**200, str(2**200)),
    ({"1e+5": [1e20, "x/é", None, True, 7]}, '{"1e+5":[1.0e+20,"x/é",null,true,7]}'),
])  # fmt: skip
def test_everything_else_is_written_as_ruby_writes_it(value: Json, text: str) -> None:
    assert dumps(value) == text.encode()


@rows(("value", "what"), [
    (math.nan, "float"),
    ({"a": [math.inf]}, "float"),
    ("\ud800", "surrogate"),
    ({"\udc00": 1}, "surrogate"),
    ([1e20, "\ud800"], "surrogate"),
    ([10**5000], "4300 digits"),
])  # fmt: skip
def test_value_ruby_refuses_to_write_is_refused_by_name(value: Json, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        dumps(value)


def _nested(levels: int) -> Json:
    value: Json = 1
    for _ in range(levels):
        value = [value]
    return value


@rows("levels", [101, 5000])
def test_nesting_beyond_100_is_not_written(levels: int) -> None:
    with pytest.raises(ValueError, match="100 levels"):
        dumps(_nested(levels))
    assert loads(dumps(_nested(100))) == _nested(100)


@example(1e-4)
@example(9.99e-5)
@example(999999999999999.9)
@example(-1e15)
@example({"\x7f\u2028": [0.0, -0.0, 2**64 - 1, 2**64, -(2**63) - 1]})
@given(json_values)
def test_a_value_is_written_the_same_whatever_is_beside_it(value: Json) -> None:
    assert dumps([value, 1e20]) == b"[" + dumps(value) + b",1.0e+20]"


@given(json_values)
def test_written_values_read_back_equal(value: Json) -> None:
    raw = dumps(value)
    assert loads(raw) == value
    assert dumps(loads(raw)) == raw


@given(
    st.binary(max_size=60) | st.text(alphabet='[]{}",:\\u0123456789dDeE+-.nultrfasINy ', max_size=60).map(str.encode)
)
def test_any_bytes_are_read_or_unreadable(raw: bytes) -> None:
    with contextlib.suppress(Unreadable):
        value = loads(raw)
        assert loads(dumps(value)) == value


@rows(("raw", "value"), [
    (b"\xef\xbb\xbf{}", {}),
    (b'{"a":1,"b":2,"a":3}', {"a": 3, "b": 2}),
    (b'["\\ud83d\\ude00", "\\u0000"]', ["😀", "\0"]),
    (b"[-0, -0.0, 1E5, 1e-400]", [0, -0.0, 100000.0, 0.0]),
    (b"[18446744073709551616, -9223372036854775809]", [2**64, -(2**63) - 1]),
    (b"[" + b"9" * 4300 + b"]", [10**4300 - 1]),
    (b'["1234567890123456789 \\\\ud800 \\\\\\"", 1.5]', ['1234567890123456789 \\ud800 \\"', 1.5]),
    (b'["' + b"[" * 500 + b'\\"{"]', ["[" * 500 + '"{']),
    (b" 5 ", 5),
])  # fmt: skip
def test_payloads_of_producers_are_read(raw: bytes, value: Json) -> None:
    assert loads(raw) == value


@rows("edge", [2**53, 10**18, 2**63, 10**19, 2**64, 10**20])
@rows("sign", [1, -1])
def test_integer_stays_exact_at_each_limit_of_a_parser(edge: int, sign: int) -> None:
    for number in range(sign * edge - 3, sign * edge + 4):
        value = loads(b"[%d]" % number)
        assert (value, dumps(value)) == ([number], b"[%d]" % number)


@given(
    st.integers(10**18, 10**40),
    st.sampled_from(
        ["%s", "[%s]", "[1,%s]", '{"a":%s}', '{"a": -%s}', "[\t-%s]", "[\n%s\r]", "[%s.5]", "[-0.%s]", "[1e-%s]"]
    ),
)
def test_a_long_number_is_exact_wherever_it_stands(number: int, form: str) -> None:
    text = form % number
    assert loads(text.encode()) == json.loads(text)


def test_a_long_id_in_quotes_is_read_as_fast_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b'{"jid":"012345678901234567890123","args":["f12345678901234567890",{"12345678901234567890":["x"]}]}'
    monkeypatch.setattr(rubyjson, "_loads_exactly", None)
    assert loads(text) == json.loads(text)


LONG = b"12345678901234567890"


@rows(("raw", "what"), [
    (b"", "empty"),
    (b"{x", "column 2"),
    (b"[1,]", "line 1 column"),
    (b"// c\n{}", "line 1 column 1"),
    (b"[NaN]", "column 2"),
    (b"[-Infinity]", "column"),
    (b"[NaN," + LONG + b"]", "NaN"),
    (b"[-Infinity," + LONG + b"]", "-Infinity"),
    (b"[1e400]", "infinity"),
    (b"[1e400," + LONG + b"]", "too large"),
    (b'["\\ud800"]', "surrogate"),
    (b'{"\\udc00":1}', "surrogate"),
    (b'["\\ud800x",' + LONG + b"]", "surrogate.*character 2"),
    (b'{"\\uDC00":' + LONG + b"}", "surrogate"),
    (b'{"a":"\\ud800","a":' + LONG + b"}", "surrogate"),
    (b'["\\ud800\\ud800",' + LONG + b"]", "surrogate"),
    (b'["ab\xff"]', "byte 0xff at byte 4"),
    (b'["\xed\xa0\x80"]', "not UTF-8"),
    (b'["\xed\xa0\x80",' + LONG + b"]", "not UTF-8"),
    (b'["\x00"]', "control character"),
    (b"{}\0", "column 3"),
    (b"[" * 101 + b"]" * 101, "100 levels"),
    (b'{"a":' * 101 + LONG + b"}" * 101, "100 levels"),
    (b"[" * 100_000, "depth|nested"),
    (b"[" * 100_000 + LONG, "nested"),
    (b"[" + b"9" * 4301 + b"]", "4300 digits"),
    (b"[-" + b"9" * 5000 + b"]", "4300 digits"),
    (b"1" + b"0" * 400 + b".5", f"the number 1{'0' * 19} is too large"),
    (b'{"a":' + b"1" * 30 + b",x", "Expecting property name"),
])  # fmt: skip
def test_text_ruby_could_not_read_is_unreadable_with_a_reason(raw: bytes, what: str) -> None:
    with pytest.raises(Unreadable, match=what):
        loads(raw)


@rows(("text", "levels"), [
    (b"[[],[],[],[]]", 2), (b'{"a":[],"b":{},"c":[]}', 2), (b"[[[]],[[]]]", 3), (b'["[[[["]', 1), (b"1", 0),
    (b'"[[[["', 0), (b'["]",["\\"]"]]', 2),
])  # fmt: skip
def test_levels_are_counted_and_not_brackets(text: bytes, levels: int) -> None:
    assert nests_at_most(levels, text)
    assert levels == 0 or not nests_at_most(levels - 1, text)
