"""A job's `args` as producers write them: `[endpoint, arguments, token, reply_id?]` in all its shapes.

The broker's admission calls `read`. Always holds: values pass unchanged, and the reason of a refusal names the value
that is wrong. The shapes come from the Go original (both of its revisions), its README's PHP example, and the clients
listed in `docs/producers.md`.
"""

from typing import Final

import attrs

from restbroker.job import endpoint as endpoints
from restbroker.job import rubyjson
from restbroker.job.command import Command, CommandSpec
from restbroker.job.endpoint import Hide, kind_of, quote, truncate
from restbroker.job.json_types import Json
from restbroker.job.reason import Reason
from restbroker.light import frozen_plain

_SHAPE = "Jobs carry [command, arguments, token] and, if an answer is wanted, a reply id as the fourth element."
_ARGUMENTS = (
    'Give the arguments as an object such as {"user": "richard"}, as a list of [key, value] pairs, '
    "as a list of one-key objects, or as the JSON text of one of these."
)


BARE: Final = ""
"""The name under which a bare list stands among the arguments."""


@frozen_plain
class Submission:
    """A producer's request. `reply_id` is None if it wants no reply; `token` is not checked yet.

    `is_bare`: the arguments are a list of texts, under the name `BARE`; the command says which argument that is.
    """

    command: Command
    token: Json
    reply_id: str | int | float | None
    is_bare: bool = False


def read(args: Json, hide: Hide = truncate) -> Submission | Reason:
    """Return the submission in `args`, or why there is none.

    `args` may itself be the JSON text of a list (some Node producers do that). A fifth element is ignored. `hide` takes
    secrets out of what is quoted of the endpoint.
    """
    if isinstance(args, str):
        args = _parse_json(args)
    if not isinstance(args, list):
        return Reason("BadArguments", f'"args" is {kind_of(args)}, not a list.', _SHAPE)
    if args and isinstance(args[0], dict) and "job_class" in args[0]:
        return Reason("BadArguments", "This is an ActiveJob wrapper, not a restbroker job.", _SHAPE)
    if len(args) < 3:
        missing = "its third element, the token, is missing" if len(args) == 2 else "a job needs at least 3"
        elements = "1 element" if len(args) == 1 else f"{len(args)} elements"
        return Reason("BadArguments", f'"args" has {elements}: {missing}.', _SHAPE)
    endpoint = endpoints.check(args[0], hide)
    if isinstance(endpoint, Reason):
        return endpoint
    arguments = args[1] if isinstance(args[1], dict) else _arguments(args[1])
    if isinstance(arguments, Reason):
        return arguments
    reply_id = _reply_id(args[3]) if len(args) > 3 else None
    if isinstance(reply_id, Reason):
        return reply_id
    if isinstance(arguments, list):
        return Submission(Command(endpoint, {BARE: arguments}), args[2], reply_id, is_bare=True)
    return Submission(Command(endpoint, arguments), args[2], reply_id)


def name_bare_list(submission: Submission, spec: CommandSpec | None) -> Submission | Reason:
    """Return the submission with its bare list under the name of the command's argument, or why not, if it takes none.

    A submission without a bare list is returned as it is.
    """
    if not submission.is_bare:
        return submission
    if spec is None or spec.bare is None:
        return _refuse(_odd_entry(1, "a string"))
    command = submission.command
    given = {spec.bare: command.arguments[BARE]}
    return attrs.evolve(submission, command=Command(command.endpoint, given), is_bare=False)


def token(args: Json) -> Json:
    """Return the third element of `args`, the token, whatever the others are; None if there is no third."""
    listed = _parse_json(args) if isinstance(args, str) else args
    return listed[2] if isinstance(listed, list) and len(listed) > 2 else None


def token_and_reply_id(args: Json) -> tuple[Json, str | int | float | None]:
    """Return the token and the reply id of `args` that `read` refuses; None for a reply id that is not valid.

    Both are None if `args` has fewer than four elements.
    """
    listed = _parse_json(args) if isinstance(args, str) else args
    if not isinstance(listed, list) or len(listed) < 4:
        return None, None
    reply_id = _reply_id(listed[3])
    return listed[2], None if isinstance(reply_id, Reason) else reply_id


def _parse_json(text: str) -> Json:
    try:
        return rubyjson.loads(text.encode("utf-8"))
    except rubyjson.Unreadable:
        return text


def _arguments(given: Json) -> dict[str, Json] | list[Json] | Reason:
    """Return the arguments by name, a list of texts as it is, or why they are refused."""
    value = _parse_json(given) if isinstance(given, str) else given
    match value:
        case None:
            return {}
        case dict():
            return value
        case list() if value and all(isinstance(item, str) for item in value):
            return value
        case list():
            return from_list(value)
        case _:
            return _refuse(f"The arguments (second element) are {_describe(given)}.")


def _describe(given: Json) -> str:
    return "a string that is not JSON of an object or list" if isinstance(given, str) else kind_of(given)


def from_list(items: list[Json]) -> dict[str, Json] | Reason:
    """Return the arguments by name that a list has in pairs or objects of one key, none twice; or why it is refused."""
    arguments: dict[str, Json] = {}
    for position, item in enumerate(items, start=1):
        match item:
            case [str(key), value]:
                pass
            case dict() if len(item) == 1:
                ((key, value),) = item.items()
            case _:
                return _refuse(_odd_entry(position, kind_of(item)))
        if key in arguments:
            return _refuse(f"The argument list names {quote(key)} twice.")
        arguments[key] = value
    return arguments


def _odd_entry(position: int, kind: str) -> str:
    return f"Entry {position} of the argument list is {kind}, neither a [key, value] pair nor an object with one key."


def _refuse(message: str) -> Reason:
    return Reason("BadArguments", message, _ARGUMENTS)


def _reply_id(given: Json) -> str | int | float | None | Reason:
    match given:
        case None | "":
            return None
        case bool() | list() | dict():
            return Reason(
                "BadReplyId",
                f"The reply id (fourth element) is {kind_of(given)}.",
                "Give a string or a number, or leave it out if you want no reply.",
            )
        case str() | int() | float():
            return given
        case _:
            return None
