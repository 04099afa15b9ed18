"""Judges MongooseIM's answers: status, codes and paths of errors to an outcome. Pure; the connector calls `judge`.

Always holds: every answer has an outcome, nothing here raises, and no message holds a secret argument's value.

HTTP's classes do not fit GraphQL: a refusal comes with 200, and a 200 may hold what was done beside what was not. Only
`extensions.code` is stable; messages are for people (measured on 6.8.0 unless said otherwise).
"""

from collections.abc import Sequence
from typing import Final, Literal

import attrs
import orjson

from restbroker.job import hiding, redact
from restbroker.job.command import Call, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Reason, Rejected, Uncertain
from restbroker.servers.api.shown import Shown, show
from restbroker.servers.mongooseim import knowledge
from restbroker.servers.mongooseim.answer import Answer, Problem, says
from restbroker.servers.mongooseim.refusals import LATER, refused
from restbroker.servers.mongooseim.schema import Operation
from restbroker.transport.message import Response
from restbroker.transport.retry_after import retry_after_s

CRASH_ATTEMPTS: Final = 3
"""So often at most a job is sent over which a server that is well otherwise crashes."""
CRASH: Final = "resolver_crash"
ROOT: Final = "ROOT"
"""The path of a refusal that is about the login, not about an operation."""

CHECK_URL: Final = "Check the target's URL: it must lead to a mongoose_graphql_handler, e.g. /api/graphql."
CHECK_HOST: Final = (
    "Check the target's URL, and HostHeader: a listener may answer to one Host alone, as the shipped one for admins"
    ' does to "localhost".'
)
_CHECK_LOGIN: Final = "Check the target's login (Auth) against its listener's, or the account's password."
_GOES_ON: Final = "It goes on by itself."
_SEE_LOG: Final = "See MongooseIM's log."
_SEE_BOTH: Final = f"{_GOES_ON} See the server's log, and its database."

Question = Literal["user", "health"]


@attrs.frozen
class Found:
    """What was asked after an answer that leaves something open; None: not asked, or nobody could tell.

    `user_exists`: the account that the call is about. `is_well`: the server, with its database.
    """

    user_exists: bool | None = None
    is_well: bool | None = None


NOTHING: Final = Found()


@attrs.frozen
class _Case:
    """One answer to one call. `operation` is None for a document of the job's own."""

    call: Call
    operation: Operation | None
    spec: CommandSpec
    answer: Answer
    response: Response
    found: Found

    @property
    def name(self) -> str:
        """The command's."""
        return self.spec.name

    def shown(self) -> Shown:
        """The answer for people. It takes a while: for failures alone."""
        return show(self.response, hiding.spelled(redact.secret_values(self.spec, self.call.command.arguments)))


def question_after(operation: Operation | None, answer: Answer, response: Response) -> Question | None:
    """What must be asked before this answer can be judged."""
    codes = {problem.code for problem in answer.problems}
    if response.status == 500 or (response.status == 200 and not codes.isdisjoint({CRASH, *LATER})):
        return "health"
    name = None if operation is None else operation.name
    # The loser of a race for a name gets this as often as "exists"; for a removed account it is the only word.
    if (name, response.status) == (knowledge.REGISTER, 200) and "cannot_register" in codes:
        return None if answer.problems[0].message.endswith("null_password") else "user"
    return "user" if name == knowledge.REMOVE and "not_allowed" in codes else None


def is_doubtful(call: Call, outcome: Outcome) -> bool:
    """Whether a server that cannot reach its database may have said this of a job that met such a one before.

    It takes the database's error for "no such user", and tells so once its own time-outs are over (measured).
    """
    match outcome:
        case Rejected(reason):
            return call.maybe_run and reason.code in ("NotFound", "Refused")
        case Delivered(note="already done"):
            return call.maybe_run and call.command.endpoint.replace("/", ".") not in knowledge.CREATES
        case _:
            return False


def without_database(status: int, text: str | None = None) -> Deferred:
    """The outcome of an answer that means nothing, since the database is away."""
    message = "MongooseIM answers, and cannot reach its database, or nothing behind it."
    return Deferred(Reason("DatabaseAway", message, _SEE_BOTH, status), counts=False, pause_target=True, text=text)


def unanswered_without_database() -> Uncertain:
    """The outcome of a time-out while the database is away."""
    message = "No answer came in time, and MongooseIM cannot reach its database; the command may have run."
    return Uncertain(Reason("DatabaseAway", message, _SEE_BOTH), pause_target=True)


def judge(
    call: Call,
    operation: Operation | None,
    spec: CommandSpec,
    answer: Answer,
    response: Response,
    found: Found = NOTHING,
    now_s: float = 0.0,
) -> Outcome:
    """The outcome of this answer to this call. `now_s` (epoch seconds) is for a Retry-After that names a date."""
    case, status = _Case(call, operation, spec, answer, response, found), response.status
    if 200 <= status < 300:
        return _success(case)
    shown = case.shown()
    if 300 <= status < 400:
        message = f"The server redirects to {shown.address() or 'elsewhere'}."
        # Concerns every job: the probe meets the same, and the lane pauses instead of parking them all.
        return Denied(Reason("Redirected", message, CHECK_URL, status), shown.text)
    if status in (408, 425, 429, 503):
        # MongooseIM itself sends none of these: they come from what is in front of it.
        reason = Reason("ServerBusy", says(shown, status, None), _GOES_ON, status)
        return Deferred(reason, retry_after_s(response, now_s), counts=False, pause_target=True, text=shown.text)
    if 400 <= status < 500:
        return _client_error(case, shown)
    if 500 <= status < 600:
        return _server_error(case, shown, now_s)
    return Rejected(Reason("OddAnswer", f"The server answered with status {status}.", CHECK_URL, status), shown.text)


def _success(case: _Case) -> Outcome:
    answer, response = case.answer, case.response
    if not answer.is_answer:
        if response.truncated:
            return Delivered(response.body.decode("utf-8", "replace"), None, response.status, note="answer truncated")
        shown = case.shown()
        message = f"Status {response.status} with no answer of GraphQL in it: this is not MongooseIM's API."
        return Denied(Reason("NotTheApi", message, CHECK_URL, response.status), shown.text)
    if answer.problems:
        return _problems(case)
    return _done(case)


def _done(case: _Case, note: str | None = None) -> Delivered:
    text, body = case.response.body.decode("utf-8", "replace"), case.answer.body
    if note is not None or case.name in knowledge.ECHOING or case.operation is None:
        # A document's own words, and those of other texts, are its producer's, as the answer is.
        values = {name: one for name, one in case.call.command.arguments.items() if name != "query"}
        secrets = redact.secret_values(case.spec, values, with_texts=False)
        if note is not None:
            text = hiding.without(text, hiding.said(case.response.said) | hiding.spelled(secrets))
        else:  # to read the escapes of what was done would take longer than all the rest
            text = hiding.without(text, hiding.spelled(secrets), rounds=0)
        body = _parsed(text)
    member = knowledge.QUESTIONS.get(case.name)
    is_no = member is not None and case.answer.at((*_path(case), member)) is False
    return Delivered(text, body, case.response.status, negative=is_no, note=note)


def _problems(case: _Case) -> Outcome:
    """Of a 200 with errors: nothing was done, or all of it but some parts, or it had been done before."""
    problems = case.answer.problems
    crashed = next((problem for problem in problems if problem.code == CRASH), None)
    done, parts = _parts(case)
    # Of a job's own document nobody knows whether what it did may be done again.
    if crashed is not None and not (done and case.operation is None):
        return _crash(case, crashed)
    already = knowledge.ALREADY.get(case.name)
    if already is not None and all(_code(case, problem) == already for problem in problems) and _may_count(case):
        return _done(case, note="already done")
    if done:
        codes = ", ".join(sorted({problem.code or "no code" for problem in problems}))
        of = f" of {parts}" if parts else ""
        return _done(case, note=f"partly done: {len(problems)}{of} failed ({case.shown().hide(codes)})")
    return _refused(case, case.shown(), problems[0])


def _code(case: _Case, problem: Problem) -> str:
    """The code, with what was asked in addition."""
    match case.name, problem.code, case.found.user_exists:
        case knowledge.REGISTER, "cannot_register", True:
            return "exists"
        case knowledge.REMOVE, "not_allowed", False:
            return "not_allowed"
        case knowledge.REMOVE, "not_allowed", _:
            return "still_there"
        case _:
            return problem.code


def _may_count(case: _Case) -> bool:
    """Whether what was there before may count as done by this job."""
    call = case.call
    return bool(call.maybe_run) or (call.ok_if_exists and case.name in knowledge.CREATES)


def _refused(case: _Case, shown: Shown, problem: Problem) -> Outcome:
    code, status = _code(case, problem), case.response.status
    if case.found.user_exists is None and question_after(case.operation, case.answer, case.response) == "user":
        message = f"{says(shown, status, problem)}; whether the account exists could not be asked."
        return Deferred(Reason("ServerError", message, _GOES_ON, status), max_attempts=CRASH_ATTEMPTS, text=shown.text)
    if code in LATER and case.found.is_well is False:
        return without_database(status, shown.text)
    if code in LATER and case.spec.repeat != "unsafe":
        reason = Reason("ServerError", says(shown, status, problem), f"{_GOES_ON} {_SEE_LOG}", status)
        return Deferred(reason, text=shown.text, of_job=True, maybe_run=True)
    code = "not_found" if (case.name, code) == (knowledge.REMOVE, "not_allowed") else code
    problem = attrs.evolve(problem, missing=tuple(map(shown.hide, problem.missing)))
    kind, cure = refused(code, problem, is_own=case.operation is None)
    return Rejected(Reason(kind, says(shown, status, problem), cure, status), shown.text)


def _crash(case: _Case, problem: Problem) -> Outcome:
    """A resolver that crashed: the database is away, or it is a bug, maybe one that this job's values meet."""
    shown, status = case.shown(), case.response.status
    if case.found.is_well is False:
        return without_database(status, shown.text)
    message = f"{says(shown, status, problem)}; the server is well otherwise"
    if case.spec.repeat == "unsafe":
        return Uncertain(Reason("ServerError", f"{message}. It may have run.", _SEE_LOG, status))
    return Deferred(
        Reason("ServerError", message, _SEE_LOG, status), max_attempts=CRASH_ATTEMPTS, text=shown.text, of_job=True
    )


def _client_error(case: _Case, shown: Shown) -> Outcome:
    status, problems = case.response.status, case.answer.problems
    first = problems[0] if problems else None
    told = says(shown, status, first)
    match status:
        case 401 if _is_of_operation(first):
            cure = "A domain admin may touch his own domain alone. Let an admin's target do it, or correct the domain."
            return Rejected(Reason("CommandForbidden", told, cure, status), shown.text)
        case 401 | 403:
            return Denied(Reason("LoginRefused", told, _CHECK_LOGIN, status), shown.text)
        case 400 if first is not None:
            return _refused(case, shown, first)
        case 404:
            return Denied(Reason("WrongUrl", told, CHECK_HOST, status), shown.text)
        case 405 | 406 | 415:
            cure = f"Something before the server changes requests, or this is not its API. {CHECK_URL}"
            return Denied(Reason("NotTheApi", told, cure, status), shown.text)
        case 413:
            cure = "The job is too large for the server, or for a proxy before it: send less, or raise their limit."
            return Rejected(Reason("Refused", told, cure, status), shown.text)
        case _:
            return Rejected(Reason("Refused", told, "Correct the arguments.", status), shown.text)


def _is_of_operation(problem: Problem | None) -> bool:
    """Whether a 401 is about what was asked for, and not about who asks."""
    return problem is not None and problem.code == "no_permissions" and problem.path not in ((), (ROOT,))


def _server_error(case: _Case, shown: Shown, now_s: float) -> Outcome:
    status, problems = case.response.status, case.answer.problems
    told = says(shown, status, problems[0] if problems else None)
    if status == 504:
        cure = "Give the proxy in front of MongooseIM a longer time-out than restbroker's."
        return Uncertain(Reason("GatewayTimeout", f"{told} It may have run.", cure, status))
    reason = Reason("ServerError", told, _SEE_LOG, status)
    if status == 500 and case.found.is_well is False:
        return Deferred(reason, counts=False, pause_target=True, text=shown.text)
    if status == 500:
        return Deferred(reason, max_attempts=CRASH_ATTEMPTS, text=shown.text)
    return Deferred(reason, retry_after_s(case.response, now_s), pause_target=status == 502, text=shown.text)


def _path(case: _Case) -> Sequence[str]:
    return () if case.operation is None else case.operation.path


def _parts(case: _Case) -> tuple[bool, int]:
    """Whether any part was done, and of how many, where that can be told."""
    if case.operation is None:
        return _has_any(dict(case.answer.data), depth=2), 0
    result = case.answer.at(case.operation.path)
    if isinstance(result, list):
        # An operation on a list says of each whether it was done.
        return any(part is not None for part in result), len(result)
    return result is not None, 0


def _has_any(value: Json, depth: int) -> bool:
    """Whether any operation of a document has a result: a category's are one level down."""
    if isinstance(value, dict) and depth:
        return any(_has_any(part, depth - 1) for part in value.values())
    return value is not None


def _parsed(text: str) -> Json:
    try:
        found: Json = orjson.loads(text)
    except ValueError:
        return None
    return found
