"""What the keys about Redis, its Sentinels and their secrets are read as."""

from pathlib import Path

from restbroker.config.secret import Secret
from restbroker.job.json_types import Json
from tests.unit.config.conftest import Refused, Write

SERVED: dict[str, Json] = {
    "RestURL": "http://127.0.0.1:5281/api",
    "RestUser": "admin",
    "RestPass": "p",
    "RestQueue": "rest",
    "JabberDomain": "example.org",
    "Token": "x",
}
SENTINEL: dict[str, Json] = {"RedisSentinels": ["10.0.0.1:7000", "[::1]", "s3"], "RedisMaster": "main"}


def test_sentinels_name_redis_and_the_url_says_the_rest(write: Write, tmp_path: Path) -> None:
    (tmp_path / "sentinel").write_text("s3cret\n")
    written = {**SERVED, **SENTINEL, "RedisURL": "rediss://bob:pw@/3", "RedisSentinelPassFile": "sentinel"}
    loaded = write(written)
    config = loaded.config
    assert config.redis_sentinels == (("10.0.0.1", 7000), ("::1", 26379), ("s3", 26379))
    assert (config.redis_master, config.redis_url) == ("main", "rediss://bob@localhost:6379/3")
    assert config.redis_password == Secret("pw")
    assert config.redis_sentinel_password is not None
    assert config.redis_sentinel_password.reveal() == "s3cret"
    assert loaded.notes == ()


def test_a_host_that_sentinel_makes_useless_is_noted_only_where_one_is_written(write: Write) -> None:
    for written, codes in (
        ({}, []),
        ({"RedisURL": "redis:///2"}, []),
        ({"RedisURL": "redis://10.0.0.9/2"}, ["HostUnused"]),
        ({"RedisHost": "10.0.0.9"}, ["HostUnused"]),
    ):
        assert [note.code for note in write({**SERVED, **SENTINEL, **written}).notes] == codes


def test_a_password_for_sentinels_alone_is_refused_and_so_is_one_beside_its_file(refused: Refused) -> None:
    (problem,) = refused({**SERVED, "RedisSentinelPass": "hunter2"})
    assert problem.startswith("RedisSentinelPass: is given without RedisSentinels")
    assert "hunter2" not in problem
    (problem,) = refused({**SERVED, **SENTINEL, "RedisSentinelPass": "a", "RedisSentinelPassFile": "b"})
    assert problem.startswith("RedisSentinelPass and RedisSentinelPassFile: say the same")


def test_the_url_of_redis_is_given_in_one_way(refused: Refused, write: Write, tmp_path: Path) -> None:
    for other in ("RedisURL", "RedisHost"):
        (tmp_path / "url").write_text("redis://h\n")
        (problem,) = refused({**SERVED, "RedisURLFile": "url", other: "redis"})
        assert "say the same thing in two ways" in problem, other
        assert {other, "RedisURLFile"} <= set(problem.partition(":")[0].split())
        variable = {"RESTBROKER_REDIS_URL": "redis://v:1"}
        assert write({**SERVED, "RedisURLFile": "url"}, variable).config.redis_url == "redis://v:1/0", other


def test_a_file_with_a_wrong_url_is_named_and_its_text_not_shown(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://hunter2@h\n")
    (problem,) = refused({**SERVED, "RedisURLFile": "url"})
    assert problem.startswith("RedisURLFile: Clients disagree whether a single word before @")
    assert "hunter2" not in problem
    (problem,) = refused({**SERVED, "RedisURLFile": "none"})
    assert problem.startswith("RedisURLFile: The secret file")


def test_the_password_in_a_file_with_the_url_is_read_again(write: Write, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://bob:first@r:1/0")
    password = write({**SERVED, "RedisURLFile": "url"}).config.redis_password
    assert password is not None
    assert password.last_text == "first"
    for text in ("redis://r:1", "no url", "", "redis://bob:first@other:1/0"):
        (tmp_path / "url").write_text(text)
        assert not password.is_other_than("first"), text
    (tmp_path / "url").write_text("redis://bob:sec%40nd@r:1/0")
    assert password.is_other_than("first")
    assert password.last_text == "sec@nd"
    assert password.texts_read == {"first", "sec@nd"}
