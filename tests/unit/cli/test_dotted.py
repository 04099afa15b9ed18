"""Commands whose names have a dot, as they may be written in a shell."""

import pytest

from restbroker.cli.order import joined, signatures_of, target_of
from restbroker.config.target import Target, Url
from restbroker.errors import UsageError

MIM = Target("mim", "mongooseim", Url("http", "localhost", 5551, "/api/graphql"), ("m",))
EJABBERD = Target("ejabberd", "ejabberd", Url("http", "localhost", 5281, "/api"), ("e",))
BOTH = (EJABBERD, MIM)


@pytest.mark.parametrize(
    ("command", "words", "found"),
    [
        ("account", ["registerUser", "username=a"], ("account.registerUser", ["username=a"])),
        ("account registerUser", ["username=a"], ("account.registerUser", ["username=a"])),
        ("account.registerUser", ["username=a"], ("account.registerUser", ["username=a"])),
        ("account", ["richard"], ("account", ["richard"])),
        ("account", ["registerUsr=a"], ("account", ["registerUsr=a"])),
        ("register", ["user=a"], ("register", ["user=a"])),
        ("register", [], ("register", [])),
        ("checkAuth", [], ("checkAuth", [])),
    ],
)
def test_two_words_are_one_name_where_a_target_has_it(command: str, words: list[str], found: object) -> None:
    assert joined(BOTH, command, words) == found


@pytest.mark.parametrize(
    ("command", "words"),
    [("account", ["registerUsr", "username=a"]), ("acount", ["registerUser"]), ("account registerUsr", [])],
)
def test_two_words_that_are_nearly_a_name_are_told_which(command: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        joined(BOTH, command, words)
    assert "did you mean account.registerUser" in str(caught.value)


def test_two_words_stay_two_where_no_target_has_such_names() -> None:
    assert joined((EJABBERD,), "account", ["registerUser"]) == ("account", ["registerUser"])


@pytest.mark.parametrize("command", ["account.registerUser", "account/registerUser"])
def test_the_target_that_has_the_command_is_the_one(command: str) -> None:
    target = target_of(BOTH, None, None, command)
    assert target is MIM
    spec = signatures_of(target, None, command, any_command=False).newest
    assert spec is not None
    assert spec.name == "account.registerUser"


def test_a_command_of_the_other_target_goes_there() -> None:
    assert target_of(BOTH, None, None, "register/v1") is EJABBERD


def test_a_misspelt_name_is_no_command() -> None:
    with pytest.raises(UsageError) as caught:
        signatures_of(MIM, None, "account/registerUsr", any_command=False)
    assert "'account.registerUsr'; did you mean account.registerUser" in str(caught.value)
