"""Commands whose names have a dot."""

import pytest

from restbroker.config.target import Target, Url
from restbroker.errors import UsageError
from restbroker.operate.request import signatures_of, target_of

MIM = Target("mim", "mongooseim", Url("http", "localhost", 5551, "/api/graphql"), ("m",))
EJABBERD = Target("ejabberd", "ejabberd", Url("http", "localhost", 5281, "/api"), ("e",))
BOTH = (EJABBERD, MIM)


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
