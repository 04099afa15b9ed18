"""A signature fits one job however the job is written, and nothing else."""

import hashlib
import hmac
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from restbroker.job import arguments, rubyjson, signing
from restbroker.job.arguments import Submission
from restbroker.job.json_types import Json
from restbroker.job.signing import Signature
from tests.support.rows import rows

NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.text(st.characters(codec="utf-8"))


def submitted(given_arguments: Json, endpoint: str = "register", reply_id: Json = None) -> Submission:
    found = arguments.read([endpoint, given_arguments, "", reply_id])
    assert isinstance(found, Submission)
    return found


def signed(given_arguments: Json, jid: str = "j1", secret: str = "s3cret") -> Signature:
    signature = signing.read(signing.sign(secret, "app", 1795165609, jid, submitted(given_arguments), "q"))
    assert signature is not None
    return signature


def fits(signature: Signature, submission: Submission, jid: str = "j1", *secrets: str) -> bool:
    return place(signature, secrets or ("s3cret",), jid, submission) is not None


def place(signature: Signature, secrets: Sequence[str], jid: str, submission: Submission) -> int | None:
    content = signing.content(signature, jid, submission, "q")
    return None if content is None else signing.matching_secret(signature, secrets, content)


def written_out(value: Any) -> str:
    """The canonical text as its description says it, one value after the other."""
    match value:
        case dict():
            return "{" + ",".join(f"{written_out(key)}:{written_out(value[key])}" for key in sorted(value)) + "}"
        case list():
            return "[" + ",".join(written_out(item) for item in value) + "]"
        case str():
            return '"' + "".join(escaped(character) for character in value) + '"'
        case float():
            text = format(Decimal(repr(value)), "f")
            return "0" if not value else text.rstrip("0").rstrip(".") if "." in text else text
        case None | True | False:
            return {None: "null", True: "true", False: "false"}[value]
        case _:
            return str(value)


def escaped(character: str) -> str:
    short = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return short.get(character) or (f"\\u{ord(character):04x}" if character < " " else character)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_each_form_of_the_arguments_verifies(values: dict[str, Any]) -> None:
    signature = signed(values)
    assert fits(signature, submitted([[key, value] for key, value in values.items()]))
    assert fits(signature, submitted([{key: value} for key, value in values.items()]))
    assert fits(signature, submitted(json.dumps(values)))
    assert fits(signature, submitted(dict(reversed(values.items()))))


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_job_rewritten_by_ruby_verifies(values: dict[str, Any]) -> None:
    again = rubyjson.loads(rubyjson.dumps(values))
    escaped = rubyjson.loads(json.dumps(values, indent=1).encode())
    assert fits(signed(values), submitted(again))
    assert fits(signed(values), submitted(escaped))


ANY_TEXT = st.text(st.characters() | st.sampled_from('"\\/\b\f\n\r\t\x00\x1f\x7f\u2028\u2029\ud800\udfff\uffff😀.5e+7'))
ANY_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(10**4299), 10**4299) | NUMBERS | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(ANY_VALUES)
@example({"a": True, "b": [None, False, 1, 2**64, -(10**4299)], "\ud800": "\udfff", "\U0001f600": 0, "\uffee": -0.0})
@example({"a": "1.5", "b": "2e-7", "é": '/"\\\n\x1f\x7f\u2028😀', "c": [1.0, -0.0, 1e-7, 1e22]})
@example([[]])
def test_the_canonical_text_is_the_same_whichever_way_it_is_made(value: Any) -> None:
    assert signing.canonical(value) == written_out(value)


@pytest.mark.promise("Security: who can push to the queues", "to crash or stall it")
@rows("large", [
    [1] * signing.VALUES_LIMIT,
    [1e307] * signing.VALUES_LIMIT,
    [[[]]] * (signing.VALUES_LIMIT // 2 + 1),
    {str(key): None for key in range(signing.VALUES_LIMIT)},
    {"a": [{"b": {}}] * (signing.VALUES_LIMIT // 2)},
    [10**4299] * 100,
])  # fmt: skip
def test_no_signature_covers_more_values_than_are_quick_to_check(large: Json) -> None:
    submission = submitted({"x": large})
    assert not signing.is_signable(submission)
    assert signing.content(signed({}), "j1", submission, "q") is None


def test_signature_covers_values_up_to_the_limit_and_any_text() -> None:
    values: Json = {"x": [1.5] * (signing.VALUES_LIMIT - 2), "y": "\n" * 1_000_000}
    assert fits(signed(values), submitted(values))


@rows(("size_bytes", "tried"), [(1_000, 10_000), (1_000_000, 16), (9_000_000, 2)])
def test_large_contents_try_only_the_first_secrets(size_bytes: int, tried: int) -> None:
    values: Json = {"x": "y" * size_bytes}
    others = [f"other-{number}" for number in range(tried)]
    assert place(signed(values), [*others[1:], "s3cret"], "j1", submitted(values)) == tried - 1
    found = place(signed(values), [*others, "s3cret"], "j1", submitted(values))
    assert found == (tried if size_bytes == 1_000 else None)


@pytest.mark.promise("Security: who can write to Redis beyond the queues", "to make a job of their own run")
def test_a_signature_fits_no_other_job() -> None:
    values: Json = {"user": "bob", "host": "example.org"}
    signature = signed(values)
    assert fits(signature, submitted(values))
    assert not fits(signature, submitted(values), "j2")
    assert not fits(signature, submitted(values, "unregister"))
    assert not fits(signature, submitted(values, reply_id="r"))
    assert not fits(signature, submitted({"user": "bob", "host": "example.com"}))
    assert not fits(signature, submitted({"user": "bob"}))
    assert not fits(signature, submitted(values), "j1", "another", "")


@rows("replace", [("app", "apq"), ("1795165609", "1795165610"), ("v1q:", "v2q:"), ("v1q:", "v1:")])
def test_a_signature_whose_own_parts_were_changed_fits_nothing(replace: tuple[str, str]) -> None:
    signature = signing.read(signed({}).text.replace(*replace))
    assert signature is None or not fits(signature, submitted({}))


def test_signature_name_has_32_characters_and_its_time_12_digits() -> None:
    end = "0" * 64
    for version in ("v1q", "v1"):
        text = f"{version}:{'a' * 32}:{'1' * 12}:{end}"
        assert signing.read(text) == Signature(text, version, "a" * 32, 111111111111)
    others: tuple[Json, ...] = (
        *(None, 1, "", "v1q:app:1", f"v1q:APP:1:{end}", f"v1q:{'a' * 33}:1:{end}", f"v1q::1:{end}"),
        *(f"v1q:a:{'1' * 13}:{end}", f"v1q:a::{end}", f"v1q:a:1:{end}\n", f"v2:a:1:{end}", f"v1qq:a:1:{end}"),
        *(f"v1q:a:1:{hexadecimal}" for hexadecimal in (end[1:], end + "0", end[1:] + "g", "A" * 64)),
    )
    for odd in others:
        assert signing.read(odd) is None, odd
    assert signing.read(f"v1q:a:\u0661:{end}") is None, "digits of another script"


def accepted(mark: Json, signature: Signature, secret: str = "s3cret") -> int | None:
    return signing.accepted_at_s({signing.ACCEPTED_FIELD: mark}, secret, signature)


def test_an_acceptance_fits_one_signature_and_one_secret() -> None:
    one, other = signed({}), signed({"a": 1})
    mark = signing.acceptance("s3cret", one, "a:q", 1795165700.4)
    assert signing.accepted_queue({signing.ACCEPTED_FIELD: mark}) == "a:q"
    assert accepted(mark, one) == 1795165700
    assert accepted(mark, other) is None
    assert accepted(mark, one, "another") is None
    for forged in (
        mark.replace("a:q", "other"),
        mark.replace("@1795165700", "@1999999999"),
        mark.replace("@1795165700", "@01795165700"),
        mark.replace("@1795165700", ""),
        mark[:64],
        mark.upper(),
        f"{mark}\n",
        f"0{mark}",
        True,
        None,
    ):
        assert accepted(forged, one) is None, forged


def test_a_person_renews_a_true_mark_and_no_other() -> None:
    """What no broker ever accepted must not run because a person retries it."""
    one, secrets = signed({}), ["older", "s3cret"]
    base: dict[str, Json] = {"args": ["register", {}, one.text], "jid": "j1"}
    mark = signing.acceptance("s3cret", one, "a:q", 5.0)
    again = signing.renew_mark({**base, signing.ACCEPTED_FIELD: mark}, secrets, 1795165800.0)
    assert accepted(again[signing.ACCEPTED_FIELD], one) == 1795165800
    assert signing.accepted_queue(again) == "a:q"
    others: tuple[dict[str, Json], ...] = (
        base,
        {**base, signing.ACCEPTED_FIELD: "0" * 64 + "@5:a:q"},
        {**base, signing.ACCEPTED_FIELD: signing.acceptance("another", one, "a:q", 5.0)},
        {"args": ["register", {}, "s3cret"], signing.ACCEPTED_FIELD: "x"},
        {"args": 5},
    )
    for fields in others:
        assert signing.renew_mark(fields, secrets, 1795165800.0) == fields


@rows(("at_s", "covered", "fit"), [
    (1_795_165_609, "r\u00e9st", "r\u00e9st"),
    (1_000_000_000, "r\u00e9st", "r\u00e9st"),
    (999_999_999, "", "r\u00e9st rest"),
])  # fmt: skip
def test_a_signature_is_over_the_text_that_its_description_gives(at_s: int, covered: str, fit: str) -> None:
    """One with a number in the place of its time is for all queues."""
    submission = submitted({"a": 1})
    text = f'["v1q","app",{at_s},"j1","register",{{"a":1}},null,"{covered}"]'
    made = hmac.new(b"s3cret", text.encode(), hashlib.sha256).hexdigest()
    signature = signing.read(signing.sign("s3cret", "app", at_s, "j1", submission, covered))
    assert signature == Signature(f"v1q:app:{at_s}:{made}", "v1q", "app", at_s)
    for queue in ("r\u00e9st", "rest"):
        content = signing.content(signature, "j1", submission, queue)
        assert content is not None
        assert (signing.matching_secret(signature, ["s3cret"], content) == 0) is (queue in fit.split())


def test_empty_secret_verifies_nothing_not_even_its_signature() -> None:
    assert not fits(signed({}, secret=""), submitted({}), "j1", "")
    assert place(signed({}), ["", "s3cret"], "j1", submitted({})) == 1


def test_every_signature_is_compared_with_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    signature, compared = signed({}), []

    def compare(offered: bytes, made: bytes) -> bool:
        compared.append((offered, made))
        return offered == made

    monkeypatch.setattr("hmac.compare_digest", compare)
    assert place(signature, ["s3cret", "another"], "j1", submitted({})) == 0
    assert [offered for offered, _ in compared] == [signature.text.encode()] * 2
    assert compared[0][1] != compared[1][1]
