"""What `check` says of limits and tokens, and how it names the keys of a target."""

import attrs
import pytest

from restbroker.config.load import load
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.operate.check.config import check_tokens
from restbroker.operate.unknown_names import unknown_names
from restbroker.servers import registry


def test_a_token_that_may_do_dangerous_things_is_named_with_what_it_may() -> None:
    environ = {
        "RESTBROKER_RESTQUEUE": "q",
        "RESTBROKER_TOKEN": "t0ken-0123456789",
        "RESTBROKER_RESTURL": "http://127.0.0.1:1",
    }
    config = load(None, environ, {}, registry.kinds()).config
    assert list(check_tokens(config)) == []
    admin = Token("admin", (Secret("hush-0123456789ab"),), allow=("*", "dangerous:backup"))
    (found,) = check_tokens(attrs.evolve(config, tokens=(*config.tokens, admin)))
    assert (found.level, found.code) == ("note", "DangerousAllowed")
    assert '"admin"' in found.message
    assert "dangerous:backup" in found.message
    assert "hush" not in str(found)


@pytest.mark.parametrize(
    ("secret", "told"),
    [("a-long-random-text", "README's example"), ("fifteen-letters", "16 characters"), ("sixteen-letters-", None)],
)
def test_a_token_that_everyone_knows_or_can_guess_is_warned_of(secret: str, told: str | None) -> None:
    environ = {"RESTBROKER_RESTQUEUE": "q", "RESTBROKER_TOKEN": secret, "RESTBROKER_RESTURL": "http://127.0.0.1:1"}
    found = list(check_tokens(load(None, environ, {}, registry.kinds()).config))
    assert [(one.level, one.code) for one in found] == ([] if told is None else [("warning", "WeakToken")])
    assert told is None or told in found[0].message
    assert secret not in str(found)


def test_a_token_that_no_queue_can_be_used_with_is_named() -> None:
    environ = {
        "RESTBROKER_RESTQUEUE": "q",
        "RESTBROKER_TOKEN": "t0ken-0123456789",
        "RESTBROKER_RESTURL": "http://127.0.0.1:1",
    }
    config = load(None, environ, {}, registry.kinds()).config
    token = Token("app", (Secret("hush-0123456789ab"),), targets=("ejabberd",), queues=("q*",))
    assert list(unknown_names(attrs.evolve(config, tokens=(token,)))) == []
    (found,) = unknown_names(attrs.evolve(config, tokens=(attrs.evolve(token, queues=("r",)),)))
    assert found.code == "TokenFitsNowhere"
    assert '"app"' in found.message
