"""What a failed request means for people: what to do depends on whose fault it is."""

import pytest

from restbroker.broker.judging import unreachable_reason
from restbroker.errors import ConfigError
from restbroker.transport.errors import NotSent


def test_a_secret_that_cannot_be_used_is_not_blamed_on_the_server() -> None:
    with pytest.raises(NotSent) as caught:
        raise NotSent("any") from ConfigError("The secret file /x is empty.", "Put the secret into it.")
    found = unreachable_reason(caught.value)
    assert (found.code, found.message) == ("SecretUnusable", "The secret file /x is empty.")
    assert found.hint == "Jobs wait in Redis. Put the secret into it."
    assert unreachable_reason(NotSent("refused")).code == "TargetUnreachable"
