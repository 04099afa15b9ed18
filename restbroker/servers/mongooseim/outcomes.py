"""Judges MongooseIM's answers: status, codes and paths of errors become an outcome.

Pure; the connector calls `classify`. Always holds: every answer has an outcome, nothing here raises, and no message
holds a secret argument's value.

HTTP's classes do not fit GraphQL: a refusal comes with 200, and a 200 may report some parts as done and others as
failed. Only `extensions.code` is stable; messages are for people (measured on 6.8.0 unless said otherwise).
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import attrs

from restbroker.job import hiding, redact
from restbroker.job.command import Call, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Outcome, Ran, Reason, Rejected, Uncertain
from restbroker.light import frozen, frozen_plain
from restbroker.servers.api.answer import Answer, deliver_as_is
from restbroker.servers.api.ladder import GOES_ON, Ladder, Rung, ladder, standard
from restbroker.servers.api.texts import parse_json, read_toml
from restbroker.servers.mongooseim import command_attributes
from restbroker.servers.mongooseim.answer import AnswerError, GraphqlResult, answer_of
from restbroker.servers.mongooseim.catalogue import Operation
from restbroker.servers.mongooseim.command_attributes import ATTRIBUTES, ECHOING, REGISTER, REMOVE
from restbroker.transport.message import Response, text_of

CRASH_ATTEMPTS: Final = 3
"""The most times that a job is sent on which a server that is well otherwise crashes."""
CRASH: Final = "resolver_crash"
ROOT: Final = "ROOT"
"""The path of a refusal that is about the login, not about an operation."""

CHECK_URL: Final = "Check the target's URL: it must lead to a mongoose_graphql_handler, e.g. /api/graphql."
CHECK_HOST: Final = (
    "Check the target's URL, and HostHeader: a listener may answer only to one Host, as the default one for "
    'admins does to "localhost".'
)
_CHECK_LOGIN: Final = "Check the target's login (Auth) against its listener's, or the account's password."
_SEE_LOG: Final = "See MongooseIM's log."
_NOT_THE_API: Final = Rung(
    "denied",
    "NotTheApi",
    f"A proxy in front changes requests, or this is not its API. {CHECK_URL}",
)
_RUNGS: Final[Ladder] = standard("MongooseIM", check_url=CHECK_URL, check_log=_SEE_LOG) | {
    401: Rung("denied", "LoginRefused", _CHECK_LOGIN),
    403: Rung("denied", "LoginRefused", _CHECK_LOGIN),
    404: Rung("denied", "WrongUrl", CHECK_HOST),
    **dict.fromkeys((405, 406, 415), _NOT_THE_API),
    500: Rung("deferred", "ServerError", _SEE_LOG, how={"max_attempts": CRASH_ATTEMPTS, "ran": "maybe"}),
}
_SEE_BOTH: Final = f"{GOES_ON} Check the server's log and its database."

Question = Literal["user", "health"]
_OBJECT: Final = "Check the name, or create it first."
_HOST: Final = "Correct the domain, or let MongooseIM serve it."
_TABLES: Final = read_toml(__file__, "refusals.toml")
_REFUSALS: Final[Mapping[str, tuple[str, str]]] = {
    code: (row["code"], row["hint"]) for row in _TABLES["refusals"] for code in row["says"]
}
"""By the server's code, ours and the hint."""
LATER: Final = frozenset[str](_TABLES["later"])


@frozen
class FollowUp:
    """The answers to the connector's questions after an answer that leaves something open.

    `user_exists`: the account that the call is about exists. `is_well`: the server is well, and so is its database.
    None: it was not asked, or no answer told.
    """

    user_exists: bool | None = None
    is_well: bool | None = None


NOTHING: Final = FollowUp()


@frozen_plain
class _GraphqlCase:
    """One answer to one call, with all that its judgement needs.

    `operation` is None for a document of the job's own.
    """

    call: Call
    operation: Operation | None
    spec: CommandSpec
    result: GraphqlResult
    response: Response
    follow_up: FollowUp
    now_s: float

    @property
    def name(self) -> str:
        """The command's name."""
        return self.spec.name

    def answer(self, problem: AnswerError | None = None) -> Answer:
        """Return the answer for people, about this problem or its body. It is slow: use it for failures alone."""
        secrets = redact.secret_values(self.spec, self.call.command.arguments)
        return answer_of(self.response, problem, secrets, self.now_s)


def question_after(operation: Operation | None, result: GraphqlResult, response: Response) -> Question | None:
    """Return what the connector must ask before this answer can be judged; None if nothing."""
    codes = {problem.code for problem in result.problems}
    if response.status == 500 or (response.status == 200 and not codes.isdisjoint({CRASH, *LATER})):
        return "health"
    name = None if operation is None else operation.name
    # The loser of a race for a name gets this as often as "exists"; for a removed account it is the only word.
    if (name, response.status) == (REGISTER, 200) and "cannot_register" in codes:
        return None if result.problems[0].message.endswith("null_password") else "user"
    return "user" if name == REMOVE and "not_allowed" in codes else None


def is_doubtful(call: Call, outcome: Outcome) -> bool:
    """Tell whether this outcome of a job that may have run may come from a server that cannot reach its database.

    Such a server takes the database's error for "no such user", and says so once its own time-outs are over (measured).
    """
    match outcome:
        case Rejected(reason):
            return call.maybe_run and reason.code in ("NotFound", "Refused")
        case Delivered(note="already done"):
            return call.maybe_run and call.command.endpoint.replace("/", ".") not in ATTRIBUTES.creates
        case _:
            return False


def without_database(status: int, text: str | None = None, ran: Ran = "no") -> Deferred:
    """Return the outcome of an answer that means nothing, since the database is away; the target pauses.

    `text` is the server's answer as the job may keep it; `ran`: see `Deferred`.
    """
    message = "MongooseIM answers but cannot reach its database."
    reason = Reason("DatabaseAway", message, _SEE_BOTH, status)
    return Deferred(reason, counts=False, pause_target=True, text=text, ran=ran)


def unanswered_without_database() -> Uncertain:
    """Return the outcome of a time-out while the database is away: the command may have run, and the target pauses."""
    message = "No answer came in time, and MongooseIM cannot reach its database. The command may have run."
    return Uncertain(Reason("DatabaseAway", message, _SEE_BOTH), pause_target=True)


def classify(
    call: Call,
    operation: Operation | None,
    spec: CommandSpec,
    result: GraphqlResult,
    response: Response,
    found: FollowUp = NOTHING,
    now_s: float = 0.0,
) -> Outcome:
    """Return the outcome of this answer to this call.

    `operation` is None for a document of the job's own. `found`: what was asked since the answer (see
    `question_after`). `now_s` (epoch seconds) is for a Retry-After that names a date.
    """
    case, status = (
        _GraphqlCase(call, operation, spec, result=result, response=response, follow_up=found, now_s=now_s),
        response.status,
    )
    if 200 <= status < 300:
        return _success(case)
    problem = result.problems[0] if result.problems else None
    answer = case.answer(problem)
    match status:
        case 400 if problem is not None:
            return _refusal(case, answer, problem)
        case 401 if _is_of_operation(problem):
            hint = "A domain admin may change only their own domain. Use an admin's target, or correct the domain."
            return answer.reject("CommandForbidden", hint)
        case 500 if found.is_well is False and answer.is_own:
            return answer.defer("ServerError", _SEE_LOG, counts=False, pause_target=True, ran="maybe")
        case _:
            return ladder(answer, _RUNGS)


def _success(case: _GraphqlCase) -> Outcome:
    result, response = case.result, case.response
    if not result.is_answer:
        if response.note:
            return deliver_as_is(response)
        message = f"Status {response.status} without a GraphQL answer: this is not MongooseIM's API."
        return case.answer().deny("NotTheApi", CHECK_URL, message)
    if result.problems:
        return _problems(case)
    return _deliver(case)


def _deliver(case: _GraphqlCase, note: str | None = None) -> Delivered:
    text, body = text_of(case.response.body), case.result.body
    if note is not None or case.name in ECHOING or case.operation is None:
        # A document's own words, and those of other texts, are its producer's, as the answer is.
        values = {name: argument for name, argument in case.call.command.arguments.items() if name != "query"}
        secrets = redact.secret_values(case.spec, values, with_texts=False)
        if note is not None:
            text = hiding.mask_secrets(
                text, hiding.login_spellings(case.response.request_pairs) | hiding.spellings_of(secrets)
            )
        else:
            text = hiding.mask_in_place(text, hiding.spellings_of(secrets))
        body = parse_json(text)
    member = ATTRIBUTES.questions.get(case.name)
    is_no = member is not None and case.result.at((*_path(case), member)) is False
    return Delivered(text, body, case.response.status, negative=is_no, note=note)


def _problems(case: _GraphqlCase) -> Outcome:
    """Judge a 200 with errors: nothing was done, or all of it but some parts, or it had been done before."""
    problems = case.result.problems
    crashed = next((problem for problem in problems if problem.code == CRASH), None)
    done, parts = _parts(case)
    # Of a job's own document no one knows whether what it did may be done again.
    if crashed is not None and not (done and case.operation is None):
        return _crash(case, crashed)
    already = ATTRIBUTES.already.get(case.name)
    if already is not None and all(_code(case, problem) == already for problem in problems) and _may_count(case):
        return _deliver(case, note="already done")
    if done:
        codes = ", ".join(sorted({problem.code or "no code" for problem in problems}))
        of = f" of {parts}" if parts else ""
        shown = case.answer().masked_text.hide(codes)
        return _deliver(case, note=f"partly done: {len(problems)}{of} failed ({shown})")
    return _refusal(case, case.answer(problems[0]), problems[0])


def _code(case: _GraphqlCase, problem: AnswerError) -> str:
    """Return the problem's code, corrected by whether the account exists, if that was asked."""
    match case.name, problem.code, case.follow_up.user_exists:
        case command_attributes.REGISTER, "cannot_register", True:
            return "exists"
        case command_attributes.REMOVE, "not_allowed", False:
            return "not_allowed"
        case command_attributes.REMOVE, "not_allowed", _:
            return "still_there"
        case _:
            return problem.code


def _may_count(case: _GraphqlCase) -> bool:
    """Tell whether finding the work done before may count as done by this job."""
    call = case.call
    return bool(call.maybe_run) or (call.ok_if_exists and case.name in ATTRIBUTES.creates)


def _refusal(case: _GraphqlCase, answer: Answer, problem: AnswerError) -> Outcome:
    code, status = _code(case, problem), case.response.status
    if case.follow_up.user_exists is None and question_after(case.operation, case.result, case.response) == "user":
        message = f"{answer.sentence}; restbroker could not check whether the account exists."
        return answer.defer("ServerError", GOES_ON, message, max_attempts=CRASH_ATTEMPTS)
    if code in LATER and case.follow_up.is_well is False:
        return without_database(status, answer.text, "unlikely")
    if code in LATER and case.spec.repeat != "unsafe":
        return answer.defer("ServerError", f"{GOES_ON} {_SEE_LOG}", of_job=True, ran="maybe")
    code = "not_found" if (case.name, code) == (REMOVE, "not_allowed") else code
    problem = attrs.evolve(problem, missing=tuple(map(answer.masked_text.hide, problem.missing)))
    return answer.reject(*refusal_of(code, problem, is_own=case.operation is None))


def _crash(case: _GraphqlCase, problem: AnswerError) -> Outcome:
    """Judge a resolver's crash: the database is away, or it is a bug, maybe one that this job's values trigger."""
    answer = case.answer(problem)
    if case.follow_up.is_well is False:
        return without_database(answer.status, answer.text, "unlikely")
    message = f"{answer.sentence}; the server works otherwise"
    if case.spec.repeat == "unsafe":
        return answer.uncertain("ServerError", _SEE_LOG, f"{message}. It may have run.")
    return answer.defer("ServerError", _SEE_LOG, message, max_attempts=CRASH_ATTEMPTS, of_job=True, ran="maybe")


def _is_of_operation(problem: AnswerError | None) -> bool:
    """Tell whether a 401 refuses the operation that was asked for, and not the login."""
    return problem is not None and problem.code == "no_permissions" and problem.path not in ((), (ROOT,))


def _path(case: _GraphqlCase) -> Sequence[str]:
    return () if case.operation is None else case.operation.path


def _parts(case: _GraphqlCase) -> tuple[bool, int]:
    """Return whether any part was done, and the number of parts; 0 if that is not known."""
    if case.operation is None:
        return _has_any(dict(case.result.data), depth=2), 0
    result = case.result.at(case.operation.path)
    if isinstance(result, list):
        # An operation on a list says of each whether it was done.
        return any(part is not None for part in result), len(result)
    return result is not None, 0


def _has_any(value: Json, depth: int) -> bool:
    """Tell whether any operation of a document has a result.

    The operations of a category are one level down; `depth` is the number of levels to search.
    """
    if isinstance(value, dict) and depth:
        return any(_has_any(part, depth - 1) for part in value.values())
    return value is not None


def refusal_of(code: str, problem: AnswerError, *, is_own: bool) -> tuple[str, str]:
    """Return our code for a refusal, and the hint, as words for people.

    `code` is the server's, maybe corrected by the judge. `is_own`: the document is the job's own.
    """
    if code == "deps_not_loaded":
        missing = ", ".join(problem.missing) or "a module"
        return "UnknownCommand", f"Load {missing} in MongooseIM for that domain."
    if code == "cannot_register" and problem.message.endswith("null_password"):
        return "BadArgument", "Give a password that is not empty."
    if code == "could_not_create_room" and problem.message.endswith("incorrect domain"):
        return "UnknownHost", _HOST
    if is_own and code in _TABLES["of_documents"]:
        return "BadArgument", "Correct the document."
    if code in LATER:
        return "Refused", "It may have been done nevertheless: check the server and its log, then retry it."
    if code in _REFUSALS:
        return _REFUSALS[code]
    if code.endswith(("_not_found", "_not_exist")) or code == "not_found":
        return "NotFound", _OBJECT
    return "Refused", "The server's message says why. Check its log as well."
