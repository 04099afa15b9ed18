"""What a refusal shows of an endpoint: enough to find the mistake, and nothing that may be a secret."""

from restbroker.job.endpoint import check, quote
from restbroker.job.outcome import Reason
from tests.support.rows import rows


@rows(("endpoint", "shown"), [
    ("register?user=bob&password=p", ", which begins with 'register',"),
    ("a b", ", which begins with 'a',"),
    ("x" * 40 + "?", f", which begins with '{'x' * 40}',"),
    ("x" * 41 + "?", ""),
    ("?register", ""),
    ("/register", ", which begins with '/register',"),
])  # fmt: skip
def test_endpoint_is_shown_as_far_as_plain_and_short(endpoint: str, shown: str) -> None:
    reason = check(endpoint)
    assert isinstance(reason, Reason)
    assert reason.message == f"The endpoint{shown} is not a plain command name."


def test_an_endpoint_has_256_characters_at_most() -> None:
    assert check("x" * 256) == "x" * 256
    reason = check("x" * 257)
    assert isinstance(reason, Reason)
    assert "257 characters long; 256 is the limit" in reason.message


def test_an_endpoint_ends_with_its_last_plain_character() -> None:
    for end in ("\n", "/", "/.", "/.."):
        assert isinstance(check(f"register{end}"), Reason)


def test_a_text_is_quoted_whole_or_not_at_all() -> None:
    assert quote("x" * 80) == repr("x" * 80)
    assert quote("x" * 81) == "(of 81 characters)"
