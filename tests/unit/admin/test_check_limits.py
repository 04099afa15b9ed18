"""What `check` says of limits and tokens, and how it names the keys of a target."""

import attrs

from restbroker.admin.check import _in_words_of
from restbroker.admin.check_limits import check_tokens
from restbroker.config.load import load
from restbroker.config.secret import Secret
from restbroker.config.target import Target, Url
from restbroker.config.tokens import Token
from restbroker.connectors import registry
from restbroker.rules.findings import Finding

TARGET = Target("two", "ejabberd", Url("http", "127.0.0.1", 1), ("q",))


def test_a_token_that_may_do_dangerous_things_is_named_with_what_it_may() -> None:
    environ = {"RESTBROKER_RESTQUEUE": "q", "RESTBROKER_TOKEN": "t0ken", "RESTBROKER_RESTURL": "http://127.0.0.1:1"}
    config = load(None, environ, {}, registry.kinds()).config
    assert list(check_tokens(config)) == []
    admin = Token("admin", (Secret("hush"),), ("*", "dangerous:backup"))
    (found,) = check_tokens(attrs.evolve(config, tokens=(*config.tokens, admin)))
    assert (found.level, found.code) == ("note", "DangerousAllowed")
    assert '"admin"' in found.message
    assert "dangerous:backup" in found.message
    assert "hush" not in str(found)


def test_a_token_that_no_queue_can_be_used_with_is_named() -> None:
    environ = {"RESTBROKER_RESTQUEUE": "q", "RESTBROKER_TOKEN": "t0ken", "RESTBROKER_RESTURL": "http://127.0.0.1:1"}
    config = load(None, environ, {}, registry.kinds()).config
    token = Token("app", (Secret("hush"),), targets=("ejabberd",), queues=("q*",))
    assert list(check_tokens(attrs.evolve(config, tokens=(token,)))) == []
    (found,) = check_tokens(attrs.evolve(config, tokens=(attrs.evolve(token, queues=("r",)),)))
    assert (found.level, found.code) == ("warning", "TokenFitsNowhere")
    assert '"app"' in found.message


def test_what_to_change_is_named_as_the_target_has_it() -> None:
    finding = Finding("problem", "two", "X", "RestURL is wrong.", None, '"RestURL": "http://h" or RestPass')
    named = _in_words_of(TARGET, finding)
    assert named.message == "Targets.two.URL is wrong."
    assert named.cure == '"Targets.two.URL": "http://h" or Targets.two.Auth.Basic.Pass'
    assert _in_words_of(attrs.evolve(TARGET, name="ejabberd"), finding) == finding
