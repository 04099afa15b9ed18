"""Signatures are those of Standard Webhooks, as its own library verifies them."""

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from restbroker.errors import ConfigError
from restbroker.servers.http import signature

KEY = bytes(range(24))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
secrets = st.binary(min_size=24, max_size=64).map(lambda key: "whsec_" + base64.b64encode(key).decode())


def signed(given_secrets: list[str], jid: str, body: bytes) -> dict[str, str]:
    keys = [signature.key_of(secret) for secret in given_secrets]
    return dict(signature.headers(keys, signature.stable_id(jid), int(time.time()), body))


@given(st.lists(secrets, min_size=1, max_size=3), st.text(), st.text().map(str.encode))
def test_whoever_has_one_of_the_secrets_verifies_it(given_secrets: list[str], jid: str, body: bytes) -> None:
    headers = signed(given_secrets, jid, body)
    for secret in given_secrets:
        Webhook(secret).verify(body, headers, json_parse=False)


def test_a_plain_jid_is_the_id_itself_and_an_odd_one_has_a_digest_without_a_full_stop() -> None:
    assert signature.stable_id("0123456789abcdef01234567") == "0123456789abcdef01234567"
    odd = ["", "a.b", "é", "a\r\nb", "x" * 200, "\ud800"]
    made = [signature.stable_id(jid) for jid in odd]
    assert len(set(made)) == len(odd)
    assert all(one.isascii() and "." not in one and one.isprintable() and len(one) < 60 for one in made)
    assert made == [signature.stable_id(jid) for jid in odd]


def test_what_is_no_signing_secret_is_refused_and_not_shown() -> None:
    for secret in [
        "",
        "whsec_",
        SECRET.removeprefix("whsec_"),
        "whsec_not base64!",
        "whsec_" + "QUJD" * 7,
        "whsec_" + "QUJD" * 22,
    ]:
        with pytest.raises(ConfigError, match="whsec_ and the base64 of 24 to 64 bytes") as caught:
            signature.key_of(secret)
        assert not secret.removeprefix("whsec_") or secret not in str(caught.value)


def test_a_secret_may_be_written_without_its_padding() -> None:
    key = bytes(range(32))
    padded = "whsec_" + base64.b64encode(key).decode()
    assert padded.endswith("=")
    assert signature.key_of(padded) == signature.key_of(padded.rstrip("=")) == key
