"""What `restbroker ctl` takes and prints for ejabberd, beside what its own ejabberdctl printed of the same.

The recordings (tests/recorded/ejabberd/VERSION/ctl.jsonl) are of Debian's ejabberd 23.01 and 24.12 and of 26.07: a line
of a shell, the API's answer to the same at the same time, what ejabberdctl printed, and what it ended with. `before` is
what it printed while the command ran. A token that is new for each call, and the counters of `list_cluster_detailed`,
are those of the API's answer.
"""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypedDict

import attrs

from restbroker.job.command import Call, Catalogue, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Outcome, Rejected
from restbroker.servers.ctl import CtlCommand, CtlOutput, CtlRefusal, JobReply
from restbroker.servers.ejabberd.catalogue import for_version
from restbroker.servers.ejabberd.ctl import DIALECT
from restbroker.servers.ejabberd.outcomes import classify
from restbroker.transport.message import Response

OLD: Final = for_version("23.01")
NEW: Final = for_version("24.12")


class Recorded(TypedDict):
    """One line of a shell; the answer of the API to the same; what ejabberdctl printed, and ended with."""

    line: str
    status: int
    body: str
    stdout: str
    exit: int


RECORDED: Final[list[tuple[str, Recorded]]] = [
    (version, json.loads(line))
    for version in ("23.01", "24.12", "26.07")
    for line in (Path(__file__).parents[3] / f"recorded/ejabberd/{version}/ctl.jsonl").read_text("utf-8").splitlines()
]


def known(catalogue: str, version: str | None) -> Catalogue:
    """As the command line chooses it."""
    return for_version(catalogue, None if version is None or catalogue == "23.01" else int(version))


def read_words(words: str, *, catalogue: str = "23.01", version: str | None = None) -> CtlCommand:
    found = DIALECT.read(known(catalogue, version), shlex.split(words), version)
    assert isinstance(found, CtlCommand), found
    return found


def reply_of(outcome: Outcome) -> JobReply:
    """The outcome as a job's reply has it, once it is not tried again."""
    match outcome:
        case Delivered():
            word = "negative" if outcome.negative else "delivered"
            return JobReply(word, outcome.text, outcome.body, outcome.status, "")
        case _:
            assert not hasattr(outcome, "counts") or outcome.reason.status == 500
            word = "rejected" if isinstance(outcome, Rejected) else "failed"
            reason = outcome.reason
            return JobReply(word, getattr(outcome, "text", "") or "", None, reason.status, reason.code)


def printed(words: str, status: int, body: str, *, catalogue: str = "23.01", version: str | None = None) -> CtlOutput:
    one = read_words(words, catalogue=catalogue, version=version)
    call = Call(Command(one.endpoint, one.arguments))
    commands = known(catalogue, version)
    outcome = classify(call, commands.commands[one.name], Response(status, {}, body.encode(), 0.0))
    found = DIALECT.write(commands, one, reply_of(outcome))
    assert found is not None
    return found


def test_answer_of_the_api_is_printed_as_by_ejabberdctl() -> None:
    wrong = []
    for catalogue, recorded in RECORDED:
        words, version = recorded["line"], None
        if words.startswith("--version"):
            _, version, words = words.split(" ", 2)
        found = printed(words, recorded["status"], recorded["body"], catalogue=catalogue, version=version)
        ordered = _in_any_order if catalogue == "26.07" else str
        wanted = CtlOutput(ordered(recorded["stdout"]), recorded["exit"])
        if attrs.evolve(found, text=ordered(found.text)) != wanted:
            wrong.append((catalogue, recorded["line"], found, wanted))
    assert wrong == []
    assert len(RECORDED) > 150


def _in_any_order(text: str) -> str:
    """The same for lists that differ in their order: the API of 26.07 sorts them, ejabberdctl does not."""
    lines = ["\t".join(",".join(sorted(part.split(","))) for part in line.split("\t")) for line in text.split("\n")]
    return "\n".join(sorted(lines))


def test_command_line_refused_by_ejabberdctl_sends_nothing() -> None:
    """The words are ejabberdctl's."""
    rows: list[tuple[str, str]] = [
        ("regster a b c", "Error: unknown command 'regster'. Did you mean 'register'?\n"),
        ("nonsense", "Error: unknown command 'nonsense'. Did you mean 'compile'?\n"),
        ("register a", "Error: the command 'register' requires 2 more argument.\n"),
        ("register a b c d", "Error: the command 'register' requires 1 less argument.\n"),
        ("delete_old_users many", "Error: delete_old_users: days must be an integer, not a string of 4 characters.\n"),
    ]
    for line, text in rows:
        found = DIALECT.read(OLD, shlex.split(line), None)
        assert isinstance(found, CtlOutput), (line, text)
        assert (found.text, found.code) == (text, 1), (line, text)
        assert (found.note == "usage: restbroker ctl register user host password") == ("requires" in text), line


def test_server_machine_command_is_refused_with_an_alternative() -> None:
    for word in ("start", "stop", "restart", "foreground", "live", "debug", "etop", "ping", "mnesia", "help"):
        found = DIALECT.read(OLD, [word], None)
        assert isinstance(found, CtlRefusal), word
        assert found.hint, word


def test_arguments_follow_the_catalogues_order_and_versions_form() -> None:
    rows: list[tuple[str, str, Mapping[str, Json]]] = [
        ("check-account alice localhost", "23.01", {"user": "alice", "host": "localhost"}),
        ("delete_old_messages -3", "23.01", {"days": -3}),
        ("set_vcard2_multi a h ORG UNIT '[\"A\"]'", "23.01", {"contents": ["A"]}),
        ("set_vcard2_multi a h ORG UNIT 'A, B,'", "24.12", {"contents": ["A", "B"]}),
        ('create_room_with_opts r s h \'{"a":"b"}\'', "23.01", {"options": {"a": "b"}}),
        (
            "create_room_with_opts r s h members_only:true,title:Hello",
            "24.12",
            {"options": [{"name": "members_only", "value": "true"}, {"name": "title", "value": "Hello"}]},
        ),
        (
            "subscribe_room_many alice:example.org:al,bob:example.org:bo r s n1,n2",
            "24.12",
            {
                "users": [
                    {"user": "alice", "host": "example.org", "nick": "al"},
                    {"user": "bob", "host": "example.org", "nick": "bo"},
                ],
                "nodes": ["n1", "n2"],
            },
        ),
        ("add_rosteritem a h b h B 'x,y' both", "24.12", {"groups": ["x", "y"]}),
        ("add_rosteritem a h b h B 'x;y' both", "23.01", {"group": "x;y"}),
    ]
    for line, catalogue, arguments in rows:
        found = read_words(line, catalogue=catalogue)
        assert {name: found.arguments[name] for name in arguments} == arguments, (line, catalogue)


def test_interface_version_is_required_where_there_are_several() -> None:
    assert read_words("status", version="1").endpoint == "status"
    assert read_words("status", catalogue="24.12", version="1").endpoint == "status/v1"
    found = DIALECT.read(NEW, ["status"], "x")
    assert found == CtlOutput('Invalid API version number: "x"\n', 1)


def test_missing_form_of_the_api_refers_to_ejabberdctl() -> None:
    # 24.12 of lists of tuples (measured); its ejabberdctl prints them.
    for line in ("get_room_options room conference.localhost", "get_ban_details alice localhost", "modules_installed"):
        found = printed(line, 400, '"400 Bad Request"', catalogue="24.12")
        assert (found.text, found.code) == ("", 1)
        assert f"run `ejabberdctl {line.split()[0]}` on its machine" in str(found.note)
    # 23.01 of a number that does not exist (measured); its ejabberdctl names it.
    found = printed("resource_num alice localhost 5", 500, '"internal_error"')
    assert (found.text, found.code) == ("", 1)
    assert "run `ejabberdctl resource_num` on its machine" in str(found.note)


def test_impossible_case_of_ejabberdctl_is_not_in_its_words() -> None:
    rows: list[tuple[str, int | None, str]] = [
        ("rejected", None, "BadToken"),
        ("rejected", 403, "CommandForbidden"),
        ("denied", 401, "LoginRefused"),
        ("uncertain", None, "TimedOut"),
    ]
    for outcome, status, code in rows:
        answered = JobReply(outcome, "<html>", None, status, code)
        assert DIALECT.write(OLD, read_words("status"), answered) is None, (outcome, status)


def test_work_of_an_earlier_try_counts_as_done() -> None:
    answered = JobReply("delivered", '{"code":10090}', {"code": 10090}, 409, "")
    assert DIALECT.write(OLD, read_words("register a b c"), answered) == CtlOutput()
