"""Makes the output of `ejabberdctl` for a refusal from the API's answer.

Always holds: the exit code is ejabberdctl's. The API returns the words of a refusal without the Erlang term around
them, which `ejabberdctl` shows; the tables have that term for each command, as measured on 23.01 and 24.12.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final, Literal, TypeAlias

from restbroker.servers.api.texts import parse_json
from restbroker.servers.ctl import CtlOutput, JobReply
from restbroker.servers.ejabberd import command_attributes

_ATOM: Final = re.compile(r"[a-z][A-Za-z0-9_@]*", re.ASCII)
_EXTENDED: Final[Mapping[int, str]] = {409: "conflict", 404: "not_exists"}
_OTHERWISE: Final = "cannot_register"
"""The word of the only other error that has a number of its own (23.01)."""
_FALSE: Final = frozenset({*command_attributes.QUESTIONS})
_OF_TEXT: Final[Mapping[str, str]] = {
    "backup": "cannot_backup",
    "dump": "cannot_dump",
    "dump_table": "cannot_dump",
    "load": "cannot_load",
    "install_fallback": "cannot_fallback",
    "restore": "file_not_found",
    "import_file": "cannot_import_file",
    "import_dir": "cannot_import_dir",
}
"""By command, the first word of a failure whose text follows it."""
_NO_TEXT: Final = "400 Bad Request"
_OF_NO: Final[Mapping[str, str]] = {
    "ban_account": "account_was_already_banned",
    "unban_account": "account_was_not_banned",
}
"""By command, the word of a no, of which the API tells nothing."""
_UNKNOWN_HOST: Final = "Unknown host passed in "

Form: TypeAlias = Literal["thrown", "returned", "binary"]
_FORMS: Final[tuple[tuple[Form, tuple[str, ...]], ...]] = (
    ("binary", ("send_message", "send_stanza", "bookmarks_to_pep")),
    # What must not be taken for a command about rooms.
    ("returned", ("destroy_rooms_file", "create_rooms_file")),
    ("thrown", ("create_room*", "destroy_room*", "change_room_*", "get_room_*", "set_room_*", "get_subscribers")),
    ("thrown", ("subscribe_room*", "unsubscribe_room", "send_direct_invitation", "muc_*", "rooms_*", "get_user_*")),
    ("thrown", ("delete_rosteritem", "add_rosteritem", "get_vcard*", "set_vcard*", "set_nickname", "change_password")),
    ("thrown", ("check_password_hash", "srg_*", "set_presence", "mnesia_*")),
)
_UNHANDLED: Final = "Unhandled exception occurred executing the command:\n** {words}\n"


def failure_output(name: str, answered: JobReply) -> CtlOutput | None:
    """Return the output and exit code that ejabberdctl has for this failure.

    Return None for a refusal that it never gets (of a login, token or proxy).
    """
    if answered.outcome == "negative" or answered.code == "CommandFailed":
        return CtlOutput(f"Error: {'false' if name in _FALSE else _OF_NO.get(name, 'error')}\n", 1)
    if answered.status in (None, 401, 403) or answered.outcome == "uncertain":
        return None
    match parse_json(answered.text):
        case {"code": int(code), "message": str(message)} if code:
            kind = _EXTENDED.get(answered.status or 0, _OTHERWISE)
            return CtlOutput(f"Error: {kind}: {message}\n", 1)
        case {"message": str(message)}:
            return CtlOutput(f"Error: {_OF_TEXT.get(name, 'error')}\n{message}\n", 1)
        case "internal_error" as words if name not in command_attributes.UNTOLD:
            return CtlOutput(_UNHANDLED.format(words=words), 1)
        case str(words) if words in ("internal_error", _NO_TEXT):
            # It ran, and its result cannot be made JSON (24.12); or it refused an argument.
            note = f"ejabberd's API cannot express what {name} says ({words}): run `ejabberdctl {name}` on its machine."
            return CtlOutput("", 1, note=note)
        case str(words):
            return CtlOutput(_refusal(name, words, answered.status or 0), 1)
        case _:
            return None


def atom(text: str) -> str:
    """Return the text as Erlang shows an atom, in quotes if need be."""
    if _ATOM.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _refusal(name: str, words: str, status: int) -> str:
    form = next((form for form, names in _FORMS if any(fnmatchcase(name, one) for one in names)), "returned")
    if words.startswith(_UNKNOWN_HOST):
        return f"{{error,<<{_quote(words)}>>}}\n"
    term = words if _ATOM.fullmatch(words) else _quote(words)
    if status == 404:
        return f"{{not_found,{_quote(words)}}}\n"
    if form != "thrown":
        term = f"<<{term}>>" if form == "binary" and term != words else term
        return f"Error: error\nError: {term}\n"
    bare = term == words and not words.endswith(("_not_found", "_internal_command"))
    return f"{term}\n" if bare else f"{{error,{term}}}\n"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
