"""What a failed request means for people: what to do depends on whose fault it is."""

import pytest

from restbroker.broker.judging import unreachable_reason
from restbroker.errors import ConfigError
from restbroker.transport.message import MaybeSent, NotSent


def test_unusable_secret_is_not_blamed_on_the_server() -> None:
    with pytest.raises(NotSent) as caught:
        raise NotSent("any") from ConfigError("The secret file /x is empty.", "Put the secret into it.")
    found = unreachable_reason(caught.value)
    assert (found.code, found.message) == ("SecretUnusable", "The secret file /x is empty.")
    assert found.hint == "Jobs wait in Redis. Put the secret into it."
    assert unreachable_reason(NotSent("refused")).code == "TargetUnreachable"


def test_a_server_that_hangs_is_not_sought_at_another_address() -> None:
    silent, broken = unreachable_reason(MaybeSent("late", timed_out=True)), unreachable_reason(MaybeSent("broken"))
    assert silent.hint == "Jobs wait in Redis. The server hangs or is overloaded: check its load and log."
    assert broken.hint == "Jobs wait in Redis. Check that the server runs, and the target's URL."
