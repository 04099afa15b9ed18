"""Commands whose names have a dot, as they may be written in a shell."""

import pytest

from restbroker.cli.enqueue_one import join_command_words
from restbroker.config.target import Target, Url
from restbroker.errors import UsageError
from restbroker.operate.request import signatures_of, target_of

MIM = Target("mim", "mongooseim", Url("http", "localhost", 5551, "/api/graphql"), ("m",))
EJABBERD = Target("ejabberd", "ejabberd", Url("http", "localhost", 5281, "/api"), ("e",))
BOTH = (EJABBERD, MIM)


def test_two_words_are_one_name_where_a_target_has_it() -> None:
    rows: list[tuple[str, list[str], object]] = [
        ("account", ["registerUser", "username=a"], ("account.registerUser", ["username=a"])),
        ("account registerUser", ["username=a"], ("account.registerUser", ["username=a"])),
        ("account.registerUser", ["username=a"], ("account.registerUser", ["username=a"])),
        ("account", ["richard"], ("account", ["richard"])),
        ("account", ["registerUsr=a"], ("account", ["registerUsr=a"])),
        ("register", ["user=a"], ("register", ["user=a"])),
        ("register", [], ("register", [])),
        ("checkAuth", [], ("checkAuth", [])),
    ]
    for command, words, found in rows:
        assert join_command_words(BOTH, command, words) == found


def test_two_words_that_are_nearly_a_name_are_told_which() -> None:
    rows: list[tuple[str, list[str]]] = [
        ("account", ["registerUsr", "username=a"]),
        ("acount", ["registerUser"]),
        ("account registerUsr", []),
    ]
    for command, words in rows:
        with pytest.raises(UsageError) as caught:
            join_command_words(BOTH, command, words)
        assert "did you mean account.registerUser" in str(caught.value)


def test_the_target_that_has_the_command_is_the_one() -> None:
    rows: list[str] = ["account.registerUser", "account/registerUser"]
    for command in rows:
        target = target_of(BOTH, None, None, command)
        assert target is MIM
        spec = signatures_of(target, None, command, any_command=False).newest
        assert spec is not None
        assert spec.name == "account.registerUser"


def test_a_misspelt_name_is_no_command() -> None:
    with pytest.raises(UsageError) as caught:
        signatures_of(MIM, None, "account/registerUsr", any_command=False)
    assert "'account.registerUsr'; did you mean account.registerUser" in str(caught.value)
