"""What `check` finds in real Redis servers of several configurations."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from restbroker.config.load import load
from restbroker.job.settlement import Dead
from restbroker.operate.check.redis import check_store
from restbroker.servers import registry
from restbroker.servers.findings import Finding
from restbroker.store import heartbeats, jobs, pauses
from restbroker.store.client import Client
from restbroker.store.identities import ProcessInfo
from restbroker.store.keys import RedisKeys
from tests.support.redis_server import RedisServer
from tests.support.wait import until

MakeRedis = Callable[..., RedisServer]
DOCUMENT = {"RestURL": "http://h", "RestQueue": "rest", "Token": "t"}
FACTS = ProcessInfo(77, "node", "boot", "ns", 1, "ejabberd")


def findings(url: str, **keys: str) -> list[Finding]:
    environ = {f"RESTBROKER_{name}": value for name, value in {**DOCUMENT, "RedisURL": url, **keys}.items()}
    return [*check_store(load(None, environ, {}, registry.kinds()).config)]


def looked(url: str, **keys: str) -> dict[str, Finding]:
    return {found.code: found for found in findings(url, **keys)}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_each_key_of_another_type_is_named_once_with_what_to_do(redis_url: str, client: Client) -> None:
    client.command("SADD", "queues", "rest")
    client.command("SET", "queue:rest", "x")
    client.command("HSET", "restbroker:rate:ejabberd", "a", "b")
    client.command("SET", "restbroker:audit", "x")
    found = [finding for finding in findings(redis_url) if finding.level == "problem"]
    assert {finding.message for finding in found} == {
        "The key queue:rest is a string, but restbroker needs a list.",
        "The key restbroker:rate:ejabberd is a hash, but restbroker needs a string.",
        "The key restbroker:audit is a string, but restbroker needs a stream.",
    }
    assert len(found) == 3
    assert all(finding.code == "WrongType" and "RENAME" in str(finding.hint) for finding in found)


def test_queues_that_never_had_a_job_here_are_reported_once(redis_url: str, client: Client) -> None:
    client.command("SET", "x", "y")
    url = f"{redis_url.rpartition('/')[0]}/1"
    of_target = {"Kind": "ejabberd", "URL": "http://h", "Queues": ["a", "b"]}
    found = [row.message for row in findings(url, TARGETS=json.dumps({"t": of_target})) if row.code == "OtherDatabase"]
    assert found == ["No job was ever pushed to the queues rest, a, b here."]


def test_a_new_queue_suggests_a_command_that_a_token_allows(redis_url: str) -> None:
    asked = "Push one: restbroker enqueue --wait"
    alerts = json.dumps({"alerts": {"Secret": "t", "Allow": ["send_message"]}})
    assert looked(redis_url)["NewQueue"].hint == f"{asked} status"
    assert looked(redis_url, Token="", TOKENS=alerts)["NewQueue"].hint == f"{asked} COMMAND"


RUBY = ["SADD processes ruby:1:abc", 'HSET ruby:1:abc info {"queues":["default"],"tag":"app","version":"7.0"}']
ONE = ["SADD queues rest", "LPUSH queue:rest {}"]
QUIET = '{"quiet":true}'
OURS = "node:77:abc:ejabberd"


@pytest.mark.parametrize(
    ("commands", "beat", "keys", "code", "level", "words"),
    [
        ([], None, {}, "DeadTrimmed", "", ""),
        (RUBY, None, {}, "DeadTrimmed", "warning", "restbroker:parked"),
        (RUBY, None, {"DEADLIMIT": "0"}, "DeadTrimmed", "warning", ""),
        (RUBY, None, {"DEADLIMIT": "9000"}, "DeadTrimmed", "", ""),
        (["SADD queues Rest mailers"], None, {}, "QueueMisspelt", "", 'Did you mean "RestQueue": "Rest"?'),
        (["SADD queues rest_ mailers"], None, {}, "QueueMisspelt", "", 'Did you mean "RestQueue": "rest_"?'),
        (["SADD queues rests mailers"], None, {}, "QueueMisspelt", "", 'Did you mean "RestQueue": "rests"?'),
        ([], QUIET, {}, "QuietProcess", "warning", "is quiet: it takes no more jobs from the queue rest"),
        (ONE * 2, QUIET, {}, "QuietProcess", "warning", "No other process takes its jobs, so 2 wait."),
        (ONE, QUIET, {}, "QueueUnserved", "problem", "1 job waits, and no process takes them."),
        (ONE, QUIET, {}, "Queue", "", ""),
        (ONE, None, {}, "QueueUnserved", "note", "1 job waits"),
        (ONE, "{}", {}, "QueueUnserved", "", ""),
        (ONE, "{}", {}, "Queue", "", "1 job waits"),
        ([*ONE, "SADD paused rest"], "{}", {}, "QueuePaused", "warning", ""),
        ([f"HSET {RedisKeys().in_progress(OURS)} 1:1 {{}}"], "", {}, "LeftBehind", "warning", "1 job is"),
        ([], None, {}, "OriginalLeft", "", ""),
        (
            ['ZADD goretry 1 {"class":"X"}', "LPUSH queue:rest:h:inprogress {} {}", "LPUSH queue:mail:1:inprogress x"],
            *(None, {}, "OriginalLeft", "warning"),
            "has jobs here: 2 in queue:rest:h:inprogress, 1 in goretry.",
        ),
    ],
)
def test_problems_in_redis_are_found(
    redis_url: str,
    client: Client,
    commands: list[str],
    beat: str | None,
    keys: dict[str, str],
    code: str,
    level: str,
    words: str,
) -> None:
    """`beat`: what a process of ours says, if anything; without `level` and `words` nothing is found."""
    for command in commands:
        client.command(*command.split())
    if beat is not None:
        assert jobs.register(client, OURS, FACTS, ["rest"])
    if beat:
        assert heartbeats.write_heartbeats(client, [(OURS, 1)], {OURS: beat.encode()}) == [True]
    found = looked(redis_url, **keys).get(code)
    assert (found is not None) == bool(level or words)
    if found is not None:
        assert level in ("", found.level)
        assert words in " ".join(filter(None, (found.message, found.why, found.hint)))


def test_pauses_of_queues_and_targets_are_reported_with_reasons(client: Client, redis_url: str) -> None:
    client.command("SADD", "queues", "rest")
    pauses.pause_target(client, "ejabberd", "ann@web1", "the server moves", 600.0)
    pauses.pause_queue(client, "rest", "bob@web2", "mails go out twice", None)
    found = looked(redis_url)
    target = found["TargetPaused"].message
    assert re.fullmatch(r'ejabberd is paused by ann@web1 for (10 min|9 min \d+ s) more: "the server moves"', target)
    assert found["QueuePaused"].message == (
        'Queue rest is paused by bob@web2 until someone resumes it: "mails go out twice"'
    )


@pytest.mark.promise("No command is lost", "check says how durable Redis is")
@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"appendonly": "yes", "appendfsync": "everysec"}, "SavedEachSecond"),
        ({"appendonly": "yes", "appendfsync": "no"}, "SavedSometime"),
        ({"save": "3600 1"}, "SnapshotsOnly"),
        ({}, "NotSaved"),
        ({"maxmemory": "100mb", "maxmemory_policy": "allkeys-lru"}, "Eviction"),
        ({"maxmemory": "1"}, "Full"),
        ({"replicaof": "127.0.0.1 1"}, "Replica"),
        ({"min_replicas_to_write": "1"}, "FewReplicas"),
    ],
)
def test_settings_of_a_real_redis_are_found(make_redis: MakeRedis, options: dict[str, str], code: str) -> None:
    found = looked(make_redis(**options).url)
    assert code in found
    assert "Unreachable" not in found


@pytest.mark.promise("No command is lost", "check says how durable Redis is")
def test_what_check_says_to_do_keeps_jobs_over_a_restart(make_redis: MakeRedis) -> None:
    """With AOF on but no such file yet, Redis 7 starts empty: `dump.rdb` does not count."""
    server = make_redis(save="3600 1")
    server.command("LPUSH queue:rest job")
    hint = looked(server.url)["SnapshotsOnly"].hint or ""
    for command in re.findall("^redis-cli (CONFIG SET .+)$", hint, re.MULTILINE):
        assert server.command(command).startswith("+OK")
    waited_for = re.findall(r"aof_rewrite_\w+:0", hint)
    until(lambda: all(line in server.command("INFO persistence") for line in waited_for), "the file is there")
    server.kill()
    server.options = {"appendonly": "yes", "appendfsync": "always"}  # as CONFIG REWRITE leaves them
    assert server.start().command("LLEN queue:rest") == ":1\r\n"
    assert "Saved" in looked(server.url)


def test_right_to_have_redis_rewrite_its_file_is_only_reported(
    make_redis: MakeRedis,
) -> None:
    server = make_redis(appendonly="yes", appendfsync="always")
    server.command("ACL SETUSER u on >p ~* +@all -bgrewriteaof")
    assert looked(server.url)["TornFile"].level == "ok"
    warning = looked(f"redis://u:p@127.0.0.1:{server.port}/0")["TornFile"]
    assert (warning.level, "the one after" in (warning.why or "")) == ("warning", True)
    assert "+bgrewriteaof" in (warning.hint or "")
    assert "redis-check-aof --fix" in (warning.hint or "")
    assert "aof_last_rewrite_time_sec:-1" in server.command("INFO persistence")
    assert "TornFile" not in looked(make_redis().url)


@pytest.mark.promise("At least once, and seldom more", "AtMostOnce: a caller who waits gets one answer")
@pytest.mark.parametrize(
    ("options", "at_most_once", "is_reported"),
    [
        ({"appendonly": "yes", "appendfsync": "everysec"}, '["send_message"]', True),
        ({"appendfsync": "always"}, '["send_message"]', True),
        ({"appendonly": "yes", "appendfsync": "always"}, '["send_message"]', False),
        ({"appendonly": "yes", "appendfsync": "everysec"}, "[]", False),
    ],
)
def test_at_most_once_without_saving_each_write_is_reported(
    make_redis: MakeRedis, options: dict[str, str], at_most_once: str, *, is_reported: bool
) -> None:
    found = looked(make_redis(**options).url, AtMostOnce=at_most_once)
    assert ("MarksNotSaved" in found) == is_reported
    if is_reported:
        note = found["MarksNotSaved"]
        assert (note.level, "send_message" in note.message) == ("note", True)
        asked = "redis-cli CONFIG SET appendonly yes\nredis-cli CONFIG SET appendfsync always\n"
        assert (note.hint or "").startswith(asked)


def test_a_wrong_password_is_a_finding_that_does_not_show_it(make_redis: MakeRedis) -> None:
    server = make_redis(appendonly="yes")
    server.command("CONFIG SET requirepass right")
    found = looked(server.url, RedisPass="wr0ng")
    assert "login" in found["Unreachable"].message
    assert "wr0ng" not in repr(found)
    assert "Unreachable" not in looked(server.url, RedisPass="right")


def test_right_missing_only_to_the_terminal_is_no_problem(make_redis: MakeRedis) -> None:
    server = make_redis()
    server.command("RPUSH queue:rest {}")
    server.command(f"HSET {RedisKeys().in_progress('node:77:abc:ejabberd')} 1:1 {{}}")
    server.command("ACL SETUSER default -scan")
    found = looked(server.url)
    assert "Refused" not in found
    note = found["NotLookedAt"]
    assert note.level == "note"
    assert "'scan'" in note.message
    assert "never `restbroker run`" in (note.why or "")
    assert "docs/sidekiq.md" in (note.hint or "")


def test_user_of_one_namespace_is_refused_nothing_that_run_needs(make_redis: MakeRedis) -> None:
    server = make_redis()
    server.command("ACL SETUSER default resetkeys ~ns:*")
    assert "Refused" not in looked(server.url, REDISNAMESPACE="ns")


def test_right_missing_to_put_jobs_back_from_hands_is_a_problem(make_redis: MakeRedis) -> None:
    server = make_redis()
    server.command("ACL SETUSER default -lmove")
    found = looked(server.url)["Refused"]
    assert (found.level, "'lmove'" in found.message, "docs/sidekiq.md" in (found.hint or "")) == ("problem", True, True)


def test_orphaned_jobs_are_given_back_by_the_cure(redis_url: str, client: Client) -> None:
    identity = "node:77:abc:ejabberd"
    assert jobs.register(client, identity, FACTS, ["rest"])
    client.command("HSET", client.keys.in_progress(identity), "1:1", "{}", "last", "1", "hwm", "0")
    client.command("DEL", client.keys.heartbeats)
    found = looked(redis_url)["Orphans"]
    assert found.message.startswith("1 jobs are in restbroker:ip:node:77:abc:ejabberd")
    assert found.hint is not None
    client.command(*found.hint.partition(": ")[2].split())
    assert heartbeats.recover(client, identity, lambda fallen: Dead(0.0, fallen.raw)).jobs == 1
    assert client.command("LRANGE", "queue:rest", 0, -1) == [b"{}"]
    assert "Orphans" not in looked(redis_url)


def test_jobs_with_signatures_of_form_v1_are_counted(redis_url: str, client: Client) -> None:
    assert "OlderSignatures" not in looked(redis_url)
    for number in range(30):
        for name, version in (("retry", "v1"), ("retry", "v1q"), ("dead", "v1")):
            token = f"{version}:app:7:{number:064}"
            args: object = ["register", {"text": "v1:"}, token]
            raw = json.dumps({"class": "A", "args": json.dumps(args) if number % 2 else args})
            client.command("ZADD", name, 4e9, raw)
    client.command("ZADD", "dead", 4e9, "v1:", 4e9, '{"args":["v1:"]}')
    found = looked(redis_url)["OlderSignatures"]
    assert (found.level, found.message) == (
        "note",
        "Jobs with a signature of the form v1: 30 in retry, 30 in dead.",
    )


def test_due_jobs_for_an_unserved_queue_are_named_and_counted(redis_url: str, client: Client) -> None:
    for n in range(600):
        fields = {"queue": "theirs" if n else "other", "restbroker_deferred": 1, "jid": str(n)}
        client.command("ZADD", "retry", 5 + n // 300, json.dumps(fields))
    due_later = {"queue": "theirs", "restbroker_deferred": 1}
    client.command("ZADD", "retry", 4e9, json.dumps(due_later), 5, '{"queue":"ruby"}', 6, b"no job")
    client.command("ZADD", "schedule", 5, '{"queue":"rest","restbroker_deferred":1}')
    found = looked(redis_url)["QueueNotServed"]
    message = "600 due jobs that restbroker wrote stay in 'retry', since no target of this configuration serves their"
    assert (found.level, found.message) == ("warning", f"{message} queue: 'theirs' (599), 'other' (1).")
    client.command("DEL", "retry")
    assert "QueueNotServed" not in looked(redis_url)
