"""The frame around the commands: what is loaded, what is suggested, how failures end; and the smaller commands."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperOption

from restbroker import __version__
from restbroker.cli.app import COMMANDS, command_line, load
from restbroker.cli.examples import walk
from restbroker.errors import ConfigError
from restbroker.store import heartbeats, jobs, limits, pauses
from restbroker.store.client import Client
from restbroker.store.identities import ProcessInfo
from tests.cli.conftest import Shell
from tests.support.process import RESTBROKER, clean_environment, run_into
from tests.support.process import run_here as run

REPOSITORY = Path(__file__).parents[2]
SLOW = ("trio", "httpx", "rich", "quart", "hypercorn", "pydantic", "attrs", "prometheus_client")


def test_a_quick_command_loads_no_slow_library() -> None:
    rows: list[tuple[list[str], tuple[str, ...]]] = [
        (["--version"], ()),
        (["--help"], ()),
        (["commands", "register"], ("attrs",)),
        (["enqueue", "--help"], ("attrs", "rich")),
    ]
    for words, allowed in rows:
        script = (
            "import atexit, sys\n"
            "from restbroker.__main__ import main\n"
            "atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))\n"
            f"sys.argv = ['restbroker', *{words!r}]\n"
            "main()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY
        )
        assert done.stdout
        assert {name for name in SLOW if name in done.stderr.split()} <= set(allowed)


def test_a_wrong_number_of_processes_is_blamed_on_the_flag_and_not_on_the_file() -> None:
    rows: list[str] = ["0", "-1", "257", "abc", "1.5", "9" * 5000]
    for given in rows:
        done = run(["run", "--processes", given])
        assert done.returncode == 2
        assert f"--processes: expected a whole number from 1 to 256, found {given[:20]!r}." in done.stderr
        assert "cannot be used" not in done.stderr


def test_an_option_before_its_command_counts_as_one_behind_it() -> None:
    rows: list[str] = [
        *("--config F stats", "--config=F --json dead list", "--json --config F queues", "--config F ctl status"),
        *("queues --config F pause rest", "dead --config F --yes retry x", "--config F --wait enqueue register"),
        *("--config F explain list", "--queue dead enqueue --config F status", "--config F config show"),
    ]
    for line in rows:
        done = run(line.split())
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("restbroker: The configuration file F cannot be read"), line
    assert "The configuration file stats cannot be read" in run(["--config", "stats", "stats"]).stderr


def test_what_reads_no_configuration_may_have_one_in_front() -> None:
    lines = (
        *("--version", "-h", "--help", "explain TimedOut", "completion bash"),
        *("config schema", "config -h", "demo -h", "token -h", "token new -h", "queues -h", "stats -h"),
    )
    for words in map(str.split, lines):
        plain = run(words)
        for config in (["--config", "none.json"], ["--config=none.json"]):
            done = run([*config, *words])
            assert (done.returncode, done.stdout, done.stderr) == (0, plain.stdout, plain.stderr), (config, words)
    assert "`restbroker token` has no command 'create'." in run(["--config", "none.json", "token", "create"]).stderr


def test_an_option_before_a_command_that_has_it_not_is_refused_by_that_command() -> None:
    rows: list[tuple[str, str, str]] = [
        ("--nonsense stats", "stats", "--nonsense"),
        ("--json --watch --limit 3 stats", "stats", "--limit"),
        ("queues --nonsense pause rest", "queues pause", "--nonsense"),
        ("--wait stats enqueue", "stats", "--wait"),
    ]
    for line, command, option in rows:
        done = run(line.split())
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"Usage: restbroker {command} [OPTIONS]".replace("  ", " ")), line
        assert f"No such option: {option}" in done.stderr


def test_a_configuration_without_a_command_lacks_one() -> None:
    for line, mistake in {
        "--config": "A command is missing.",
        "--config F": "A command is missing.",
        "--config=F": "A command is missing.",
        "--config stats": "A command is missing.",
        "--config F --json": "A command is missing.",
    }.items():
        done = run(line.split())
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("Usage: restbroker [OPTIONS] COMMAND [ARGS]..."), line
        assert done.stderr.endswith(f"Error: {mistake}\n"), line


def test_an_unknown_command_may_be_another_or_a_verb_of_one() -> None:
    for words, hint in {
        "chekc": "Did you mean check?",
        "init": "Did you mean config init?",
        "inti": "Did you mean config init?",
        "setup": "Did you mean config init?",
        "cron": "Did you mean periodic?",
        "help": "Did you mean --help?",
        "version": "Did you mean --version?",
        "sources": "Did you mean events sources?",
        "order": "Did you mean keys?",
        "pause": "Did you mean queues pause, periodic pause or targets pause?",
        "nonsense": "`restbroker --help` lists them all.",
        "--config F nonsense": "`restbroker --help` lists them all.",
    }.items():
        done = run(words.split())
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"restbroker: `restbroker` has no command {words.split()[-1]!r}.\n{hint}\n"
    assert run(["queues", "rset"]).stderr.endswith(" To look into a queue: restbroker queues peek rset\n")
    assert run(["queues", "show", "rest"]).stderr.endswith(" To look into a queue: restbroker queues peek rest\n")


def test_a_part_of_a_name_lists_the_commands_that_contain_it() -> None:
    told = run(["commands", "room", "--kind", "ejabberd"]).stderr
    assert "These contain it: change_room_option, create_room, " in told
    assert told.endswith(" more.\n")


def test_no_option_has_a_value_for_one_verb_and_none_for_another() -> None:
    for name in COMMANDS:
        kinds: dict[str, bool] = {}
        for path, command in walk(load(name), name):
            for option in (one for one in command.params if isinstance(one, TyperOption)):
                for spelling in option.opts:
                    assert kinds.setdefault(spelling, option.is_flag) == option.is_flag, (path, spelling)


def test_help_is_asked_for_by_a_word_or_a_letter() -> None:
    for name in ("", "queues", "queues peek", "dead", "dead retry", "enqueue", "ctl"):
        whole = run([*name.split(), "--help"]).stdout
        assert whole.lstrip().startswith(f"Usage: restbroker {name}".rstrip())
        assert run([*name.split(), "-h"]).stdout == whole


def test_the_version_is_printed_by_an_option() -> None:
    done = run(["--version"])
    assert (done.returncode, done.stdout, done.stderr) == (0, f"restbroker {__version__}\n", "")


def test_a_verb_that_does_not_exist_is_answered_with_the_nearest_or_with_all() -> None:
    rows: list[tuple[str, str]] = [
        ("queues show", "Known are clear, delete, kill, list, pause, peek, resume."),
        ("dead sho", "Did you mean show?"),
        ("targets probe", "Did you mean check --target TARGET?"),
        ("dead --restore j", "Did you mean dead restore JID?"),
        ("dead delete --older-than 30d", "Did you mean --where 'failed_at older 30d'?"),
        ("dead delete --all --rate nan", "nan is not a finite number."),
        ("enqueue register --bulk - --rate inf", "inf is not a finite number."),
        ("config foo", "Known are init, schema, show."),
    ]
    for line, hint in rows:
        done = run(line.split())
        assert (done.returncode, done.stdout) == (2, "")
        assert hint in done.stderr


def test_output_to_a_reader_that_went_away_ends_without_a_traceback() -> None:
    for words in ("commands", "--help", "stats --help"):
        read, write = os.pipe()
        os.close(read)
        done = run_into(write, words.split(), REPOSITORY)
        os.close(write)
        assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_a_full_disk_behind_stdout_is_told_in_plain_words_and_ends_with_8() -> None:
    for words, unbuffered in (("--help", "1"), ("commands", "")):
        with Path("/dev/full").open("w") as full:
            done = run_into(full.fileno(), words.split(), REPOSITORY, {"PYTHONUNBUFFERED": unbuffered})
        assert done.returncode == 8
        assert done.stderr.startswith("restbroker: The output cannot be written: No space left on device.\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_disk_that_takes_a_part_only_ends_with_8(tmp_path: Path, unbuffered: str) -> None:
    """A raw file, as with PYTHONUNBUFFERED, writes what fits and raises nothing."""
    script = f"ulimit -f 8; exec {sys.executable} -m restbroker commands --json >whole.json"
    env = clean_environment() | {"PYTHONUNBUFFERED": unbuffered, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, (tmp_path / "whole.json").stat().st_size) == (8, 8192)


@pytest.mark.parametrize(
    ("words", "redirection", "code", "told"),
    [
        ("enqueue -", "<&-", 2, "restbroker: standard input cannot be read"),
        ("enqueue register user=a host=b password=-", "<&-", 2, "restbroker: Standard input is closed."),
        ("dead retry --all", "<&-", 2, "This needs your confirmation, but stdin is not a terminal."),
        ("stats", ">&-", 8, "restbroker: The output cannot be written"),
        ("nonsense", "<&- >&- 2>&-", 2, ""),
    ],
)
def test_a_standard_stream_that_is_of_no_use_is_told_in_plain_words_or_by_the_exit_code(
    place: Path, store: Client, words: str, redirection: str, code: int, told: str
) -> None:
    store.command(
        "ZADD", store.keys.sorted_set("dead"), 1, '{"class":"Add","jid":"1","args":["safe",{},"right-token"]}'
    )
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *RESTBROKER, *words.split()],
        cwd=place,
        env=clean_environment({"PYTHONUNBUFFERED": ""}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert told in done.stderr


def test_stats_say_what_holds_each_target_back(shell: Shell, store: Client) -> None:
    own: dict[str, dict[str, object]] = {
        "one": {"limited": "in_flight"},
        "two": {"limited": "dead"},
        "three": {"finishing": True},
    }
    for target, more in own.items():
        facts = ProcessInfo(77, "node", "boot", "ns", 1, target)
        identity = f"node:77:abc:{target}"
        assert jobs.register(store, identity, facts, [target])
        snapshot = json.dumps({"gate": "open", "concurrency": 20, **more}).encode()
        assert heartbeats.write_heartbeats(store, [(identity, 1)], {identity: snapshot}) == [True]
    limits.pause(store, "one", "operator", None)
    pauses.pause_queue(store, "two", "bob", "too many", None)
    lines = [line.split("\t") for line in shell("stats").stdout.splitlines()]
    assert {line[2]: line[3] for line in lines if line[0] == "process"} == {
        "one": "up: paused; MaxInFlight is reached",
        "two": "up: no job is taken: the dead set is full (DeadLimit)",
        "three": "finishing its jobs",
    }
    assert ["queue", "two", "0", "0.0s", 'paused by bob until someone resumes it: "too many"'] in lines


def test_commands_are_those_of_the_configured_or_running_version_and_else_the_newest(
    shell: Shell, store: Client
) -> None:
    def count(**environ: str) -> int:
        variables = {f"RESTBROKER_{name}": value for name, value in environ.items()}
        return len(shell("commands", environ=variables).stdout.splitlines())

    newest, oldest = count(), count(SERVERVERSION="23.01")
    assert oldest < newest
    assert count(REDISURL="redis://127.0.0.1:1") == newest
    assert jobs.register(store, "node:77:abc", ProcessInfo(77, "node", "boot", "ns", 1, "ejabberd"), ["rest"])
    assert heartbeats.write_heartbeats(store, [("node:77:abc", 1)], {"node:77:abc": b'{"server_version":"23.01"}'}) == [
        True
    ]
    assert count() == oldest


def test_config_show_hides_what_a_template_calls_a_secret_but_not_an_argument_s_place(
    place: Path, shell: Shell
) -> None:
    query: dict[str, str] = {"api_key": "hunter2", "page": "1", "password": "{password}"}
    order = {"Path": "orders", "Method": "PUT", "Query": query, "Body": {"auth": [{"token": "hunter2", "n": 1}]}}
    entry = {"Kind": "http", "URL": "https://a.example.org", "Queues": ["q"], "Options": {"Commands": {"order": order}}}
    path = place / "env.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "Targets": {"one": entry}}))
    done = shell("config", "show", "--json")
    assert "hunter2" not in done.stdout + done.stderr
    shown = json.loads(done.stdout)["Targets"]["value"]["one"]["Options"]["Commands"]["order"]
    assert shown == {**order, "Query": {**query, "api_key": "…"}, "Body": {"auth": [{"token": "…", "n": 1}]}}


def test_config_show_tells_what_is_inside_of_targets_and_tokens_without_their_secrets(
    place: Path, shell: Shell
) -> None:
    path = place / "env.json"
    auth = {"Basic": {"User": "admin", "Pass": "hunter2"}}
    entry = {"Kind": "ejabberd", "URL": "http://u:hunter2@127.0.0.1", "Queues": ["q"], "Auth": auth}
    tokens = {"app": {"Secret": "hunter2", "PreviousSecretFile": "env.json", "Hosts": ["example.org"]}}
    # One line, as a secret's file must be.
    path.write_text(json.dumps({**json.loads(path.read_text()), "Targets": {"one": entry}, "Tokens": tokens}))
    environ = {"RESTBROKER_TARGETS__ONE__CONCURRENCY": "7"}
    done = shell("config", "show", "--json", environ=environ)
    assert "hunter2" not in done.stdout + done.stderr
    shown = json.loads(done.stdout)
    target = {**entry, "URL": "http://…@127.0.0.1", "Auth": {"Basic": {"User": "admin", "Pass": "…"}}, "Concurrency": 7}
    origin = "file, RESTBROKER_TARGETS__ONE__CONCURRENCY"
    assert shown["Targets"] == {"value": {"one": target}, "origin": origin}
    assert shown["Tokens"]["value"]["app"] == {**tokens["app"], "Secret": "…"}
    assert (shown["DeadLimit"], shown["RateLimit"]["origin"]) == ({"value": 100_000, "origin": "default"}, "default")


def test_a_configuration_that_may_not_be_read_is_told_in_our_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "env.json"
    path.write_text("{}")
    # Whoever runs the tests as root may read everything.
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(ConfigError, match=r"env\.json cannot be used"):
        command_line().main(["stats", "--config", str(path)], standalone_mode=False)
    assert "Usage" not in capsys.readouterr().err
