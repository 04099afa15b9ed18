"""Seven users of a server whose plugin shares ids among logins of one moment, and loses paths that change at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.openfire_talk import EVENTS, Talk, talking
from tests.support.openfire_chat.server import Openfire
from tests.support.openfire_chat.state import DOMAIN
from tests.support.redis_server import RedisServer
from tests.support.rows import rows

_USERS = ("ann", "bob", "carol", "dave", "eve", "frank", "grace")
_RESTARTS = 4


@pytest.fixture
def openfire() -> Iterator[Openfire]:
    with Openfire(heartbeat_s=0.2) as server:
        server.state.login_s = 0.005
        yield server


def _seconds(server: Openfire, place: Path) -> tuple[dict[str, object], dict[str, object]]:
    """Another target of the same server, by another name of its host, and its source."""
    file = place / "others"
    file.write_text("".join(f"{user}:secret\n" for user in _USERS[4:]))
    file.chmod(0o600)
    target = {
        "Kind": "openfire-chat",
        "URL": server.url.replace("127.0.0.1", "localhost"),
        "Domain": DOMAIN,
        "Auth": {"Basic": {"User": "admin", "Pass": "secret"}},
        "Queues": ["talk2"],
    }
    options = {"Target": "chat2", "Users": list(_USERS[4:]), "PasswordsFile": str(file)}
    source = {"Kind": "openfire-sse", "Queue": EVENTS, "Class": "Event", "Options": options}
    return {"chat2": target}, {"second": source}


def _is_well(talk: Talk) -> None:
    """Every stream is open, no two users have one, and each one's message arrives under their name."""
    state = talk.server.state
    talk.listening(*_USERS)
    with state.lock:
        assert not state.is_jammed
        assert {name: state.streams[stream.id].username for name, stream in state.of_user.items()} == {
            name: name for name in _USERS
        }
    for user, to in zip(_USERS, _USERS[1:] + _USERS[:1], strict=True):
        talk.do("post_message", from_=user, to=to, body=f"of {user}")
    for user, to in zip(_USERS, _USERS[1:] + _USERS[:1], strict=True):
        event = talk.event(to, "message", body=f"of {user}")
        assert event["from"].partition("@")[0] == user


@rows("targets", [1, 2])
def test_every_stream_opens_and_no_message_changes_its_user(
    tmp_path: Path, redis_server: RedisServer, openfire: Openfire, targets: int
) -> None:
    """On a fresh server and after each of four restarts, with two brokers, also through two targets."""
    users = _USERS if targets == 1 else _USERS[:4]
    others = ({}, {}) if targets == 1 else _seconds(openfire, tmp_path)
    openfire.state.register(*_USERS)
    with talking(tmp_path, redis_server, openfire, users, brokers=2, targets=others[0], sources=others[1]) as talk:
        _is_well(talk)
        for _ in range(_RESTARTS):
            openfire.restart()
            _is_well(talk)
        assert not talk.dead()
