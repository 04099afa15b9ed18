"""What redis-py raises becomes what people can act on, and what passes is told from what stays."""

import itertools
import socketserver
import threading

import pytest
from redis import exceptions as redis_errors

from restbroker.config.secret import Secret
from restbroker.errors import RestbrokerError, StoreNotNow, StoreRefused, StoreUnavailable
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.failures import briefly, is_demoted, translate
from restbroker.store.misuse import Misused

PASSING = [
    (redis_errors.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "full", "maxmemory"),
    (redis_errors.ResponseError("MISCONF Redis is configured to save"), "cannot save", "free space"),
    (redis_errors.ResponseError("BUSY Redis is busy running a script."), "another client's script", "SCRIPT KILL"),
    (redis_errors.ReadOnlyError("You can't write against a read only replica."), "replica", "primary"),
    (redis_errors.MasterDownError("Link with MASTER is down"), "primary is down", "primary"),
    (redis_errors.ClusterDownError("Hash slot not served"), "cluster is down", "log of Redis"),
    (redis_errors.ResponseError("NOREPLICAS Not enough good replicas to write."), "too few replicas", "min-replicas"),
    (redis_errors.NoScriptError("No matching script."), "removes all scripts", "MONITOR"),
    (redis_errors.TryAgainError("Multiple keys request"), "try again", "log of Redis"),
    (redis_errors.ResponseError("UNBLOCKED force unblock"), "became a replica", "primary"),
    (redis_errors.BusyLoadingError("Redis is loading"), "is loading its data", "has started"),
]
STAYING = [
    (redis_errors.ResponseError("DB index is out of range"), "no database of the number", "RedisDatabase"),
    (redis_errors.NoPermissionError("this user has no permissions"), "no permissions", "ACL SETUSER"),
    (redis_errors.ClusterCrossSlotError("Keys in request"), "Keys in request", "Cluster cannot hold"),
    (redis_errors.MovedError("5 127.0.0.1:1"), "5 127.0.0.1:1", "Cluster cannot hold"),
    (redis_errors.AskError("5 127.0.0.1:1"), "5 127.0.0.1:1", "Cluster cannot hold"),
    (redis_errors.ResponseError("WRONGTYPE Operation against a key"), "WRONGTYPE Operation", "used for other things"),
    (redis_errors.ResponseError("ERR syntax error"), "ERR syntax error", "Redis >= 7.0"),
]  # fmt: skip
UNREACHABLE = [
    (redis_errors.AuthenticationError("WRONGPASS invalid"), "does not accept the login: WRONGPASS", "RedisPassFile"),
    (redis_errors.TimeoutError("x"), "did not answer in time", "load and the network"),
    (redis_errors.ConnectionError("Error 111."), "cannot be reached: Error 111.", "Check that it runs"),
]


def test_each_error_says_where_what_and_what_to_do() -> None:
    for kind, rows in ((StoreNotNow, PASSING), (StoreRefused, STAYING), (StoreUnavailable, UNREACHABLE)):
        for error, told, cure in rows:
            found = translate(error, "r:1")
            assert type(found) is kind, error
            assert found.message.startswith("Redis at r:1")
            assert told in found.message
            assert not found.message.endswith("..")
            assert cure in (found.cure or "")


def test_keys_of_a_wrong_type_are_named_with_what_to_do() -> None:
    error = redis_errors.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
    found = translate(error, "r:1", [Misused("dead", "zset", "string"), Misused("paused", "set", "list")])
    assert isinstance(found, StoreRefused)
    assert found.message == (
        "Redis at r:1 refused what it was asked (WRONGTYPE). The key dead is a string, and restbroker needs a sorted"
        " set. The key paused is a list, and restbroker needs a set."
    )
    assert "RENAME dead dead:misplaced" in (found.cure or "")
    assert "WRONGTYPE Operation" in translate(error, "r:1").message


def test_no_argument_of_a_command_is_repeated() -> None:
    error = redis_errors.ResponseError("unknown command 'XFOO', with args beginning with: 's3cret' 'more'")
    assert translate(error, "r:1").message == "Redis at r:1 refused: unknown command 'XFOO'"


def test_in_brief_it_ends_a_sentence() -> None:
    said = {
        "does not accept the login: WRONGPASS no": redis_errors.AuthenticationError("WRONGPASS no."),
        "is loading its data": redis_errors.BusyLoadingError("x"),
        "did not answer in time": redis_errors.TimeoutError("x"),
        "cannot be reached: Error 111": redis_errors.ConnectionError("Error\n  111."),
        "refused: NO": redis_errors.ResponseError("NO"),
    }
    assert {told: briefly(error) for told, error in said.items()} == {told: told for told in said}


def test_only_what_a_replica_or_a_master_on_its_way_out_says_ends_a_connection() -> None:
    demoted = {told for error, told, _ in PASSING if is_demoted(error)}
    assert demoted == {"replica", "primary is down", "too few replicas", "became a replica"}


def test_whatever_answers_in_redis_place_may_repeat_the_login_and_no_message_does() -> None:
    code = ""

    class Repeating(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while got := self.request.recv(4096):
                self.wfile.write(f"-{code} it was {got!r}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Repeating) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            place, secret = ("127.0.0.1", int(server.server_address[1])), Secret("sesame-4711")
            plain = StoreSettings(f"redis://{place[0]}:{place[1]}/0", password=secret)
            by_sentinels = StoreSettings(
                "redis://s/0", password=secret, sentinels=(place,), master="m", sentinel_password=secret
            )
            for code, settings in itertools.product(
                ("ERR", "WRONGPASS", "NOAUTH", "NOPERM", "BUSY"), (plain, by_sentinels)
            ):
                with pytest.raises(RestbrokerError) as caught:
                    open_client(settings).command("PING")
                assert "127.0.0.1" in caught.value.message
                assert "sesame" not in str(caught.value), code
        finally:
            server.shutdown()
