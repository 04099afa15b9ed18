# ruff: noqa: SLF001 - what is kept stays bounded, and no public name shows how much it is
"""What admission keeps of a decision lets no job in that it would refuse if it had seen no other job before."""

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.broker import admission
from restbroker.broker.admission import Admission, Endpoints
from restbroker.broker.gates import Slots
from restbroker.broker.identity import Identity
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.target_plan import TargetPlan
from restbroker.broker.tokens import Tokens
from restbroker.config.secret import Secret
from restbroker.config.target import Target, Url
from restbroker.config.tokens import Token
from restbroker.job import claims, signing
from restbroker.job.arguments import Submission
from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.command import ArgumentSpec, Catalogue, Command, CommandSpec, DangerousCommands
from restbroker.job.json_types import Json
from restbroker.job.outcome import Reason
from restbroker.job.policy import Policy
from tests.support.active_job import OBJECT, wrapper

TARGET = Target("near", "any", Url("http", "127.0.0.1", 5281, "/api"), ("rest", "low"), default_host="example.org")
HOST = ArgumentSpec("host", "string", host_source="host")
NAMES = ("all", "far", "low", "rest", "some", "here", "signed", "dared", "nobody", "before")
SECRETS = {name: f"the secret of {name}" for name in NAMES}
"""No token has that of `nobody`; `all` had that of `before`."""


def token(name: str, *more: str, **bounds: Any) -> Token:
    return Token(name, tuple(Secret(SECRETS[secret]) for secret in (name, *more)), **bounds)


TOKENS = (
    token("all", "before"),
    token("far", targets=("far",)),
    token("low", queues=("low",)),
    token("rest", queues=("rest",)),
    token("some", allow=("get_*",)),
    token("here", hosts=("example.org",)),
    token("signed", signed=True),
    token("dared", allow=("*", "dangerous:*")),
)


def stops(arguments: Mapping[str, Json]) -> Mapping[str, frozenset[str]]:
    return {"stop": frozenset({"server"})} if "stop" in json.dumps(arguments) else {}


COMMANDS = {
    "get_roster": CommandSpec("get_roster", (HOST,), "safe", takes_more=True),
    "register": CommandSpec("register", (HOST,), "safe", bare="host"),
    "any": CommandSpec("any", (HOST,), "safe", takes_more=True, dangerous_in=stops),
    "backup": CommandSpec("backup", (HOST,), "safe"),
}
CATALOGUE = Catalogue("1.0", COMMANDS, (DangerousCommands("files", re.compile("backup")),))


@attrs.define(eq=False)
class Connected:
    """What admission asks of a connector."""

    catalogue: Catalogue = CATALOGUE

    def spec(self, endpoint: str) -> CommandSpec | None:
        return self.catalogue.commands.get(endpoint)


def admits(tokens: Tokens | None = None, connector: Connected | None = None, **bounds: Any) -> Admission:
    """An admission that has seen no job yet."""
    target, connected = attrs.evolve(TARGET, **bounds), cast("Any", connector or Connected())
    plan = TargetPlan(target, connected, cast("Any", None), tokens or Tokens(TOKENS), Policy(SidekiqBackoff()))
    one_process = Identity("h:1:n:near", print)
    in_time = cast("Any", SimpleNamespace(clock_ahead_s=0.0))
    return Admission(plan, one_process, Endpoints(target, connected, Slots({})), in_time)


def job(args: Json, **fields: Any) -> bytes:
    return json.dumps({"class": "Add", "jid": "j1", "args": args, **fields}).encode()


def verdict(admitting: Admission, raw: bytes, queue: str = "rest") -> tuple[object, ...]:
    """What becomes of a job: the code of its refusal, or what is sent, and all that is noted of it."""
    in_progress = JobInProgress("1:1", 1, queue, raw)
    payload = admitting.read(in_progress, 1.0)
    admitted = admitting.admit(in_progress, cast("Any", payload)) if hasattr(payload, "fields") else payload
    noted = (in_progress.command, in_progress.reply_id, in_progress.proof, in_progress.expires_at_s, in_progress.claims)
    if isinstance(admitted, Reason):
        return (admitted.code, admitted.message, *noted)
    if not isinstance(admitted, admission.AdmittedJob):
        return ("no job",)
    facts = attrs.asdict(admitted.endpoint, filter=lambda field, _: not field.name.startswith("_"), recurse=False)
    return (admitted.command, admitted.payload.fields, facts, in_progress.at_most_once, *noted)


def warmed(**bounds: Any) -> Admission:
    """An admission that let in or refused a harmless job of each command, token and queue, and a signed one."""
    admitting, own = admits(**bounds), {"host": "example.org"}
    for queue in TARGET.queues:
        for name, secret in SECRETS.items():
            for command in (*COMMANDS, "own", "x/backup"):
                verdict(admitting, job([command, own, secret, "r1"]), queue)
                verdict(admitting, job([command, own, signed(name, command, own)]), queue)
    return admitting


def signed(name: str, command: str, arguments: Mapping[str, Json]) -> str:
    submission = Submission(Command(command, arguments), "", None)
    return signing.sign(SECRETS[name], name, int(time.time()), "j1", submission, "rest")


ODD: list[Json] = [
    None,
    True,
    0,
    1.5,
    "",
    "stop",
    [],
    {},
    ["register"],
    {"host": "example.org"},
    {"a": [{"b": {}}]},
    OBJECT,
]
NAMED: list[Json] = [
    {},
    {"host": "example.org"},
    {"host": "other.org"},
    {"host": ["other.org"]},
    {"host": {"host": "other.org"}},
    {"host": "EXAMPLE.org", "user": "stop"},
    ["other.org"],
    [["host", "other.org"]],
    [{"host": "other.org"}],
    '{"host": "other.org"}',
]
FIELDS: list[dict[str, Any]] = [
    {},
    {"expiry": 4e9},
    {"expiry": "soon"},
    {"wrapped": "A"},
    {"restbroker_accepted": f"{'0' * 64}:low"},
    {"restbroker_accepted": f"{'0' * 64}:rest"},
    {"idempotency_key": 5},
    {"idempotency_key": "k"},
    {claims.LOCK_FIELD: claims.lock_fields(claims.Lock(claims.lock_name("near", "all", "k"), "k", 60))},
    {"restbroker_uncertain": 3},
    {"restbroker_crashes": 2},
    {"restbroker_crashes": 6},
    {"queue": "low"},
    {"jid": None},
    {"jid": ["j1"]},
]
ARGS = st.tuples(
    st.sampled_from([*COMMANDS, "own", "x/backup", "register/v1", "../stop", "Register"]) | st.sampled_from(ODD),
    st.sampled_from([*NAMED, *ODD]),
    st.sampled_from(list(SECRETS.values())) | st.sampled_from(ODD),
    st.sampled_from(ODD),
)
JOBS = st.builds(
    lambda args, length, fields: job(list(args[:length]), **fields),
    ARGS,
    st.sampled_from([2, 3, 3, 3, 4]),
    st.sampled_from(FIELDS),
)
WARM = warmed()


@given(st.lists(st.tuples(JOBS, st.sampled_from(TARGET.queues)), min_size=1, max_size=8))
def test_no_job_is_decided_otherwise_for_jobs_before_it(jobs: list[tuple[bytes, str]]) -> None:
    """Those of this example, and of all examples before."""
    for raw, queue in jobs:
        assert verdict(WARM, raw, queue) == verdict(admits(), raw, queue)


@pytest.mark.parametrize("fields", FIELDS, ids=str)
def test_no_member_loses_its_rule_to_jobs_before(fields: dict[str, Any]) -> None:
    for reply_id in ODD:
        raw = job(["get_roster", dict(OBJECT), SECRETS["all"], reply_id], **fields)
        assert verdict(WARM, raw) == verdict(admits(), raw)


REFUSED: Mapping[str, tuple[str, str, Json, str]] = {
    "of another target": ("TargetNotAllowed", "far", ["get_roster", {}], "rest"),
    "of another queue": ("QueueNotAllowed", "low", ["get_roster", {}], "rest"),
    "of a queue behind": ("QueueNotAllowed", "rest", ["get_roster", {}], "low"),
    "of other commands": ("CommandNotAllowed", "some", ["register", {}], "rest"),
    "of another host": ("HostNotAllowed", "here", ["get_roster", {"host": "other.org"}], "rest"),
    "of a host in a list": ("HostNotAllowed", "here", ["register", ["other.org"]], "rest"),
    "of a host in JSON": ("HostNotAllowed", "here", ["register", '{"host": "other.org"}'], "rest"),
    "of an argument that hides a host": ("HostNotAllowed", "here", ["get_roster", {"vhost": "other.org"}], "rest"),
    "with arguments that decide": ("DangerousCommand", "all", ["any", {"iq": "stop"}], "rest"),
    "of a dangerous command": ("DangerousCommand", "all", ["backup", {}], "low"),
    "of a dangerous path": ("DangerousCommand", "all", ["x/backup", {}], "rest"),
    "without its signature": ("SignatureNeeded", "signed", ["get_roster", {}], "rest"),
    "of no token": ("BadToken", "nobody", ["get_roster", {}], "rest"),
}


@pytest.mark.promise("Security: who can push to the queues", "more than their token allows")
@pytest.mark.parametrize("kind", REFUSED)
def test_a_job_is_refused_behind_others_that_were_let_in(kind: str) -> None:
    code, name, asked, queue = REFUSED[kind]
    assert isinstance(asked, list)
    assert verdict(warmed(), job([*asked, SECRETS[name]]), queue)[0] == code


def test_a_signature_lets_in_its_own_job_alone() -> None:
    admitting, own = warmed(), {"host": "example.org"}
    good = signed("signed", "get_roster", own)
    assert isinstance(verdict(admitting, job(["get_roster", own, good]))[0], Command)
    for command, its in (("register", own), ("get_roster", {"host": "other.org"})):
        assert verdict(admitting, job([command, its, good]))[0] == "BadSignature"
    assert verdict(admitting, job(["get_roster", own, good]), "low")[0] == "BadSignature"


def test_an_object_of_rails_is_refused_behind_plain_jobs() -> None:
    wrapped = {"class": "Add", "jid": "j1"} | wrapper(["get_roster", {"host": dict(OBJECT)}, SECRETS["all"]])
    assert verdict(warmed(), json.dumps(wrapped).encode())[0] == "BadArguments"


def test_a_command_decides_by_its_new_version_at_once() -> None:
    connector = Connected()
    admitting = admits(connector=connector)
    stop, plain = job(["register", {"host": "stop"}, SECRETS["all"]]), job(["register", {}, SECRETS["all"]])
    assert isinstance(verdict(admitting, stop)[0], Command)
    by_arguments = attrs.evolve(COMMANDS["register"], dangerous_in=stops)
    connector.catalogue = Catalogue("2.0", COMMANDS | {"register": by_arguments}, CATALOGUE.dangerous)
    assert verdict(admitting, stop)[0] == "DangerousCommand"
    assert isinstance(verdict(admitting, plain)[0], Command)
    without = {name: spec for name, spec in COMMANDS.items() if name != "register"}
    connector.catalogue = Catalogue("3.0", without, CATALOGUE.dangerous)
    assert verdict(admitting, job(["register", ["example.org"], SECRETS["all"]]))[0] == "BadArguments"


def test_a_replaced_secret_is_refused_though_it_was_let_in(tmp_path: Path) -> None:
    path, at_s = tmp_path / "token", [1000.0]
    path.write_text(SECRETS["all"])
    tokens = Tokens((Token("all", (Secret(path=path),)), token("some", allow=("get_*",))), now_s=lambda: at_s[0])
    admitting, raw = admits(tokens), job(["register", {}, SECRETS["all"]])
    assert isinstance(verdict(admitting, raw)[0], Command)
    path.write_text("another secret")
    at_s[0] += 1.0
    assert verdict(admitting, raw)[0] == "BadToken"
    # Not even one that another token has by now.
    path.write_text(SECRETS["before"])
    at_s[0] += 1.0
    assert verdict(admitting, raw)[0] == "BadToken"
    assert verdict(admitting, job(["register", {}, SECRETS["some"]]))[0] == "CommandNotAllowed"


def test_what_is_kept_stays_bounded_whatever_producers_invent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_KNOWN_LIMIT", 20)
    admitting = warmed()
    for number in range(3000):
        verdict(admitting, job(["get_roster", {}, f"a token {number}"], jid=f"j{number}"))
        verdict(admitting, job([f"own{number}", {f"name{number}": number}, SECRETS["all"]]))
    assert len(admitting.endpoints._known) <= 20
    assert len(admitting._kept) <= 20
    assert set(admitting.plan.tokens.used) <= set(NAMES)
