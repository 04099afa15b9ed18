"""Which key a refused command met, from what the command touches and what Redis says of these keys."""

from collections.abc import Callable, Sequence

import pytest

from restbroker.errors import StoreUnavailable
from restbroker.store.keys import Keys
from restbroker.store.misuse import MisusedKey, find_misused_keys, keys_of
from restbroker.store.replies import Argument, Reply
from tests.support.every_key import made

KEYS = Keys("ns")
Asked = Callable[[Sequence[Sequence[Argument]]], list[Reply]]


def answering(*kinds: str) -> Asked:
    return lambda commands: [kind.encode() for kind, _ in zip(kinds, commands, strict=True)]


@pytest.mark.parametrize("key", ["ns:dead", b"ns:dead"])
def test_the_key_of_a_command_is_named_with_its_type(key: str | bytes) -> None:
    assert find_misused_keys(("ZCARD", key), KEYS, answering("string")) == [MisusedKey("ns:dead", "zset", "string")]


def test_of_a_script_s_keys_those_are_named_that_are_wrong() -> None:
    call = ("EVALSHA", "0" * 40, 3, "ns:dead", "ns:queues", "ns:queue:a", "an argument")
    assert find_misused_keys(call, KEYS, answering("zset", "hash", "none")) == [MisusedKey("ns:queues", "set", "hash")]
    assert keys_of(call) == ("ns:dead", "ns:queues", "ns:queue:a")


def test_what_redis_does_not_tell_any_more_is_not_made_up() -> None:
    def gone(_commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        raise StoreUnavailable("away")

    assert find_misused_keys(("LLEN", b"ns:queue:\xff"), KEYS, None) == [MisusedKey("ns:queue:\\xff", "list", None)]
    assert find_misused_keys(("ZCARD", "ns:dead"), KEYS, gone)[0].message == (
        "The key ns:dead is of another type, but restbroker needs a sorted set"
    )
    # Mended meanwhile.
    assert find_misused_keys(("ZCARD", "ns:dead"), KEYS, answering("none")) == []
    assert find_misused_keys((), KEYS, answering()) == []


def test_each_key_that_all_processes_share_has_its_type() -> None:
    wanted = {key: Keys().expected_type(key) for key in made()}
    unknown = {key for key, kind in wanted.items() if kind is None}
    assert all(key.startswith(("HOST:PID:NONCE", "COMMAND-")) for key in unknown), "of a process, or of Sidekiq 7"
    assert wanted["restbroker:info:IDENTITY"] == wanted["restbroker:recovered:20261120"] == "hash"
    assert (wanted["stat:failed"], wanted["restbroker:rate:TARGET"], wanted["goretry"]) == ("string", "string", "zset")
    assert Keys("ns").expected_type("ns:paused") == "set"
