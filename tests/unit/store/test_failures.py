"""What is wrong with Redis becomes what people can act on: what passes, what stays, and which key was refused."""

import itertools
import re
import socketserver
import threading

import pytest

from restbroker.config.secret import Secret
from restbroker.errors import RestbrokerError, StoreNotNow, StoreRefused, StoreUnavailable
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.failures import ErrorReply, Failure, translate
from restbroker.store.keys import RedisKeys
from tests.support.key_names import all_keys

PASSING: list[tuple[ErrorReply, str, str]] = [
    (ErrorReply("OOM command not allowed when used memory > 'maxmemory'."), "full", "maxmemory"),
    (ErrorReply("MISCONF Redis is configured to save"), "cannot save", "free space"),
    (ErrorReply("BUSY Redis is busy running a script."), "another client's script", "SCRIPT KILL"),
    (ErrorReply("READONLY You can't write against a read only replica."), "read only replica", "master"),
    (ErrorReply("MASTERDOWN Link with MASTER is down"), "MASTER is down", "master"),
    (ErrorReply("CLUSTERDOWN Hash slot not served"), "Hash slot not served", "Redis' log"),
    (ErrorReply("NOREPLICAS Not enough good replicas to write."), "Not enough good replicas", "min-replicas"),
    (ErrorReply("NOSCRIPT No matching script."), "removing all scripts", "MONITOR"),
    (ErrorReply("TRYAGAIN Multiple keys request"), "Multiple keys", "Redis' log"),
    (ErrorReply("UNBLOCKED force unblock"), "force unblock", "master"),
    (ErrorReply("LOADING Redis is loading"), "is loading its data", "has started"),
]
STAYING: list[tuple[ErrorReply, str, str]] = [
    (ErrorReply("ERR DB index is out of range"), "DB index is out of range", "RedisDatabase"),
    (ErrorReply("NOPERM this user has no permissions"), "no permissions", "ACL SETUSER"),
    (ErrorReply("ERR The user executing the script can't run this command or"), "NOPERM: The user", "A Redis user"),
    (ErrorReply("ERR ACL failure in script: User u has no"), "NOPERM: ACL failure in script", "A Redis user"),
    (ErrorReply("CROSSSLOT Keys in request"), "Keys in request", "Cluster cannot hold"),
    (ErrorReply("MOVED 5 127.0.0.1:1"), "refused a command: MOVED 5 127.0.0.1:1", "Cluster cannot hold"),
    (ErrorReply("ASK 5 127.0.0.1:1"), "refused a command: ASK 5 127.0.0.1:1", "Cluster cannot hold"),
    (ErrorReply("WRONGTYPE Operation against a key"), "another type", "restbroker check"),
    (ErrorReply("ERR syntax error"), "refused a command: syntax error", "Redis >= 7.0"),
]  # fmt: skip
UNREACHABLE: list[tuple[Failure, str, str]] = [
    (ErrorReply("WRONGPASS invalid"), "does not accept the login: invalid", "RedisPassFile"),
    (
        ErrorReply("ERR AUTH <password> called without any password configured for the default user. Sure?"),
        "does not accept the login: this Redis has no password.",
        "Remove the password from RedisURL",
    ),
    (TimeoutError("x"), "did not answer in time", "load and the network"),
    (ConnectionError("Error 111."), "cannot be reached: Error 111.", "Check that it runs"),
]


def test_each_error_says_where_what_and_what_to_do() -> None:
    rows: list[tuple[type[RestbrokerError], Failure, str, str]] = [
        *((StoreNotNow, *row) for row in PASSING),
        *((StoreRefused, *row) for row in STAYING),
        *((StoreUnavailable, *row) for row in UNREACHABLE),
    ]
    for kind, error, message, hint in rows:
        found = translate(error, "r:1")
        assert type(found) is kind, error
        assert found.message.startswith("Redis at r:1")
        assert message in found.message
        assert not found.message.endswith("..")
        assert hint in (found.hint or "")


def test_no_argument_of_a_command_is_repeated() -> None:
    error = ErrorReply("ERR unknown command 'XFOO', with args beginning with: 's3cret' 'more'")
    assert translate(error, "r:1").message == "Redis at r:1 refused a command: unknown command 'XFOO'"


def test_only_words_of_a_replica_or_ending_master_disconnect() -> None:
    demoted = {words for error, words, _ in PASSING if error.is_demotion}
    assert demoted == {"read only replica", "MASTER is down", "Not enough good replicas", "force unblock"}


@pytest.mark.promise("Security: who controls DNS, or the network between", "to be Redis")
def test_impostor_of_redis_may_repeat_the_login_unshown() -> None:
    code = ""

    class Repeating(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while got := self.request.recv(4096):
                commands = len(re.findall(rb"(?m)^\*\d", got))
                self.wfile.write(f"-{code} it was {got!r}\r\n".encode() * commands)

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


@pytest.mark.parametrize(
    "said",
    [
        "ERR unknown command 'CONFIG', with args beginning with: 'GET' ",
        "ERR unknown command `CONFIG`",
        "ERR unsupported command 'CONFIG'",
        "ERR Command is not available: 'CONFIG'. See https://example.org",
        "ERR command CONFIG is disabled",
    ],
)
def test_hidden_command_is_named_with_who_may_hide_it(said: str) -> None:
    failure = translate(ErrorReply(said), "r:1")
    assert "CONFIG" in failure.message
    assert "rename-command" in str(failure.hint)
    assert "proxy" in str(failure.hint)


def test_each_key_that_all_processes_share_has_its_type() -> None:
    wanted = {key: RedisKeys().expected_type(key) for key in all_keys()}
    unknown = {key for key, kind in wanted.items() if kind is None}
    assert all(key.startswith(("HOST:PID:NONCE", "COMMAND-")) for key in unknown), "of a process, or of Sidekiq 7"
    assert wanted["restbroker:info:IDENTITY"] == wanted["restbroker:sent:IDENTITY"] == "hash"
    assert (wanted["stat:failed"], wanted["restbroker:rate:TARGET"], wanted["goretry"]) == ("string", "string", "zset")
    assert RedisKeys("ns").expected_type("ns:paused") == "set"
