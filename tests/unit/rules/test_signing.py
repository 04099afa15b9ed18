"""A signature fits one job however the job is written, and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.rules import arguments, rubyjson, signing
from restbroker.rules.arguments import Submission
from restbroker.rules.json_types import Json
from restbroker.rules.signing import Signature

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
    signature = signing.read(signing.sign(secret, "app", 1795165609, jid, submitted(given_arguments)))
    assert signature is not None
    return signature


def fits(signature: Signature, submission: Submission, jid: str = "j1", *secrets: str) -> bool:
    return signing.which(signature, secrets or ("s3cret",), jid, submission) is not None


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_each_form_of_the_arguments_verifies(values: dict[str, Any]) -> None:
    signature = signed(values)
    assert fits(signature, submitted([[key, value] for key, value in values.items()]))
    assert fits(signature, submitted([{key: value} for key, value in values.items()]))
    assert fits(signature, submitted(json.dumps(values)))
    assert fits(signature, submitted(dict(reversed(values.items()))))


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_a_job_that_ruby_wrote_anew_verifies(values: dict[str, Any]) -> None:
    again = rubyjson.loads(rubyjson.dumps(values))
    escaped = rubyjson.loads(json.dumps(values, indent=1).encode())
    assert fits(signed(values), submitted(again))
    assert fits(signed(values), submitted(escaped))


@given(NUMBERS)
def test_a_number_is_canonical_as_itself_and_in_other_forms(number: float) -> None:
    text = signing.canonical(number)
    assert "e" not in text
    assert text == str(number) if isinstance(number, int) else float(text) == number
    assert signing.canonical(json.loads(text)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, 1.0, -0.0, 1e-7, 1e22]}, '{"a":[true,null,1,0,0.0000001,1' + "0" * 22 + '],"b":1}'),
        ({"é": '/"\\\n\x1f\x7f\u2028😀'}, '{"é":"/\\"\\\\\\n\\u001f\x7f\u2028😀"}'),
        ({"\U0001f600": 1, "\uffee": 2}, '{"\uffee":2,"\U0001f600":1}'),
        ({}, "{}"),
    ],
)
def test_the_canonical_text_is_sorted_plain_json(value: Json, text: str) -> None:
    assert signing.canonical(value) == text


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


@pytest.mark.parametrize("replace", [("app", "apq"), ("1795165609", "1795165610"), ("v1:", "v2:")])
def test_a_signature_whose_own_parts_were_changed_fits_nothing(replace: tuple[str, str]) -> None:
    signature = signing.read(signed({}).text.replace(*replace))
    assert signature is None or not fits(signature, submitted({}))


def test_both_secrets_of_a_rotation_verify_and_each_says_its_place() -> None:
    assert signing.which(signed({}, secret="old"), ["new", "old"], "j1", submitted({})) == 1
    assert signing.which(signed({}, secret="new"), ["new", "old"], "j1", submitted({})) == 0


@pytest.mark.parametrize("given_text", [None, 1, "", "v1:app:1", "v1:APP:1:" + "0" * 64, "v1:app:1:" + "0" * 63 + "G"])
def test_other_texts_are_no_signatures(given_text: Json) -> None:
    assert signing.read(given_text) is None


def test_an_acceptance_fits_one_signature_and_one_secret() -> None:
    one, other = signed({}), signed({"a": 1})
    fields: Json = {signing.ACCEPTED_FIELD: signing.acceptance("s3cret", one)}
    assert isinstance(fields, dict)
    assert signing.is_accepted(fields, "s3cret", one)
    assert not signing.is_accepted(fields, "s3cret", other)
    assert not signing.is_accepted(fields, "another", one)
    assert not signing.is_accepted({signing.ACCEPTED_FIELD: True}, "s3cret", one)
    assert not signing.is_accepted({}, "s3cret", one)
