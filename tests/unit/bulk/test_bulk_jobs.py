"""A row's job is what `enqueue` would push for it, and says which row it is of."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.bulk.jobs import Maker, TokenFinder
from restbroker.bulk.store import jid_of, row_of
from restbroker.config.secret import Secret
from restbroker.config.target import Target, Url
from restbroker.config.tokens import Token
from restbroker.errors import UsageError
from restbroker.job import signing
from restbroker.job.argument_check import BadRow, Checker
from restbroker.job.arguments import Submission
from restbroker.job.auth import AccessRequest
from restbroker.job.command import Command
from restbroker.job.json_types import Json
from restbroker.operate.enqueue import JobRequest, payload
from restbroker.servers import registry

TARGET = Target("ejabberd", "ejabberd", Url("http", "127.0.0.1", 1), ("rest",))
BATCH = "0123456789abcdef"
SPEC = registry.catalogue("ejabberd").commands["register"]
PLAIN = Token("plain", (Secret('a "token" {},"],"jid":"'),))
SIGNED = Token("signed", (Secret("secret"),), signed=True)
BOUND = Token("bound", (Secret("bound"),), hosts=("example.org",))
OTHER = Token("other", (Secret("other"),), allow=("kick_user",))


def maker(*tokens: Token, **request: object) -> Maker:
    common = JobRequest("register", {}, "rest", PLAIN, **request)  # type: ignore[arg-type]
    access = AccessRequest(Command("register", {}), SPEC, {}, None, "ejabberd", "rest")
    return Maker(Checker(SPEC, {}, None), TokenFinder(tokens, access), common, TARGET)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    arguments=st.dictionaries(st.text(max_size=6), JSON, max_size=4),
    token=st.sampled_from([PLAIN, SIGNED]),
    request=st.fixed_dictionaries(
        {},
        optional={
            "retry": st.sampled_from([True, False, 3]),
            "wants_reply": st.just(True),
            "ok_if_exists": st.just(True),
            "at_s": st.just(4e9 + 0.5),
            "reply_to": st.just("restbroker:reply:bulk-x"),
        },
    ),
    row=st.integers(1, 2**32 - 1),
)
def test_bulk_job_equals_one_enqueue_byte_for_byte(
    arguments: dict[str, Json], token: Token, request: dict[str, object], row: int
) -> None:
    made = maker(token, **request)
    one = attrs.evolve(made.request, arguments=arguments, token=token)
    for now_s in (1795165609.25, 1795165610.5):
        assert made.payload(made.request, arguments, jid_of(BATCH, row), now_s) == payload(
            one, jid_of(BATCH, row), now_s
        )


def test_a_signature_covers_the_queue() -> None:
    arguments: dict[str, Json] = {"user": "a"}
    for queue in ("rest", "low"):
        raw = payload(JobRequest("register", arguments, queue, SIGNED), jid_of(BATCH, 1), 1.5)
        submission = Submission(Command("register", arguments), None, None)
        assert signing.sign("secret", "signed", 1, jid_of(BATCH, 1), submission, queue).encode() in raw


def test_value_no_job_can_hold_is_refused() -> None:
    for token in (PLAIN, SIGNED):
        made = maker(token)
        for value in ("\ud800", float("nan"), "x" * 2**20):
            with pytest.raises((BadRow, UsageError)):
                made.payload(made.request, {"user": value}, jid_of(BATCH, 1), 1.5)


def test_the_first_token_that_allows_a_row_is_the_rows() -> None:
    made = maker(OTHER, BOUND, PLAIN)
    assert b'"bound"]' in made.payload(
        made.request, {"user": "a", "host": "example.org", "password": "b"}, jid_of(BATCH, 1), 1.5
    )
    assert b'a \\"token\\"' in made.payload(
        made.request, {"user": "a", "host": "x", "password": "b"}, jid_of(BATCH, 1), 1.5
    )
    with pytest.raises(BadRow, match=r"HostNotAllowed: The token \"bound\" does not allow register on the host"):
        maker(OTHER, BOUND).tokens.find({"host": "x"})
    assert not made.tokens.reasons_against()
    assert [reason.code for reason in maker(OTHER).tokens.reasons_against()] == ["CommandNotAllowed"]


def test_a_row_that_is_dangerous_has_the_token_that_dares_it() -> None:
    dared, made = Token("dared", (Secret("dared"),), allow=("register", "dangerous:register")), maker(PLAIN)
    spec = attrs.evolve(SPEC, dangerous_in=lambda one: {"register": frozenset({"server"})} if "host" in one else {})
    made.tokens = TokenFinder((PLAIN, dared), attrs.evolve(made.tokens.access, spec=spec))
    assert b'"dared"]' in made.payload(made.request, {"user": "a", "host": "h"}, jid_of(BATCH, 1), 1.5)
    assert b'a \\"token\\"' in made.payload(made.request, {"user": "a"}, jid_of(BATCH, 1), 1.5)
    made.tokens = TokenFinder((PLAIN,), made.tokens.access)
    with pytest.raises(BadRow, match=r"^DangerousCommand: register controls the server"):
        made.payload(made.request, {"user": "a", "host": "h"}, jid_of(BATCH, 1), 1.5)


def test_a_row_is_not_given_a_token_that_counts_in_other_queues() -> None:
    elsewhere = Token("elsewhere", (Secret("elsewhere"),), queues=("low",))
    abroad = Token("abroad", (Secret("abroad"),), targets=("prosody",))
    assert maker(elsewhere, abroad, PLAIN).tokens.find({"user": "a"}) is PLAIN
    refused = maker(elsewhere, abroad).tokens.reasons_against()
    assert [reason.code for reason in refused] == ["QueueNotAllowed", "TargetNotAllowed"]


@given(st.integers(1, 2**32 - 1))
def test_a_job_id_has_24_hex_digits_and_names_its_row(row: int) -> None:
    jid = jid_of(BATCH, row)
    assert len(jid) == 24
    assert row_of(BATCH, jid) == row
    assert row_of("f" * 16, jid) is None
    for other in (None, 5, "", BATCH, BATCH + "x" * 8, BATCH + "0" * 9):
        assert row_of(BATCH, other) is None
