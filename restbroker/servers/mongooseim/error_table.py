"""What MongooseIM's codes for a refusal mean: our code for each, and what to do. Pure; the judge calls `refusal_of`.

Always holds: every code has a meaning, even one that is newer than this table.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from restbroker.servers.mongooseim.answer import Problem

_ARGUMENTS: Final = "Correct the arguments."
_OBJECT: Final = "Check the name, or create it first."
_NOTHING: Final = (
    'Nothing to do, unless you meant another one; --ok-if-exists (in a job "ok_if_exists": true) makes this count as '
    "done where something is created."
)
_SCHEMA: Final = (
    "The server's schema does not contain it: check its version (ServerVersion), and that the URL leads to the endpoint"
    " that the target's Schema says."
)
_DOCUMENT: Final = "Correct the document."
_HOST: Final = "Correct the domain, or let MongooseIM serve it."

_MEANINGS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "exists": ("AlreadyExists", _NOTHING),
        "duplicate": ("AlreadyExists", _NOTHING),
        "already_exists": ("AlreadyExists", _NOTHING),
        "domain_not_found": ("UnknownHost", _HOST),
        "unknown_domain": ("UnknownHost", _HOST),
        "muc_server_not_found": ("UnknownHost", _HOST),
        "user_does_not_exist": ("NotFound", _OBJECT),
        "user_not_exist": ("NotFound", _OBJECT),
        "user_does_not_exist_error": ("NotFound", _OBJECT),
        "unknown_user": ("NotFound", _OBJECT),
        "no_session": ("NotFound", _OBJECT),
        "cannot_register": ("Refused", "Check the domain (it may be disabled, or not be served) and the password."),
        "not_allowed": ("Refused", "Check that the account exists and that the server's auth method allows this."),
        "still_there": ("Refused", "The account exists, but the server's auth method does not allow removing it."),
        "no_sender": ("BadArgument", 'Give the stanza a "from".'),
        "no_recipient": ("BadArgument", 'Give the stanza a "to".'),
        "invalid_recipient": ("BadArgument", _ARGUMENTS),
        "invalid_sender": ("BadArgument", "A user may send only in their own name: leave `from` out."),
        "input_coercion": ("BadArgument", _ARGUMENTS),
        "input_coerce_abort": ("BadArgument", _ARGUMENTS),
        "type_mismatch": ("BadArgument", _ARGUMENTS),
        "excess_fields_in_object": ("BadArgument", _SCHEMA),
        "invalid_json_body": ("BadArgument", _ARGUMENTS),
        "missing_non_null_param": ("BadArgument", _ARGUMENTS),
        "excess_args": ("BadArgument", _SCHEMA),
        "unknown_enum": ("BadArgument", _ARGUMENTS),
        "unknown_host_type": ("BadArgument", _ARGUMENTS),
        "unknown_field": ("UnknownCommand", _SCHEMA),
        "category_disabled": ("CommandForbidden", "Add the category to the listener's allowed_categories."),
        "no_permissions": ("CommandForbidden", "Use a login with this right."),
    }
)
LATER: Final = frozenset(
    {
        *("temporarily_unavailable", "cannot_reach_job_owner_node", "internal_server_error", "server_error"),
        *("internal", "rpc_error", "mnesia_error"),
    }
)
"""Codes with which the server says that it failed itself.

It may succeed later, and may have done the work nevertheless.
"""
_OF_DOCUMENTS: Final = frozenset(
    {
        *("unknown_field", "excess_args", "excess_fields_in_object", "missing_non_null_param", "unknown_enum"),
        *("input_coercion", "input_coerce_abort", "type_mismatch"),
        *("parser_error", "scanner_error", "unsupported_operation", "operation_not_found", "no_query_supplied"),
    }
)


def refusal_of(code: str, problem: Problem, *, is_own: bool) -> tuple[str, str]:
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
    if is_own and code in _OF_DOCUMENTS:
        return "BadArgument", _DOCUMENT
    if code in LATER:
        return "Refused", "It may have been done nevertheless: check the server and its log, then retry it."
    if code in _MEANINGS:
        return _MEANINGS[code]
    if code.endswith(("_not_found", "_not_exist")) or code == "not_found":
        return "NotFound", _OBJECT
    return "Refused", "The server's message says why; check its log too."
