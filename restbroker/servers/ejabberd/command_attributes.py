"""Attributes of commands that ejabberd does not report: which are repeatable, secret, slow or dangerous, and where.

Used by the catalogue and by `outcomes`. Always holds: a command that is named nowhere here counts as unsafe to repeat.
"Measured" means tried on 23.01 and 24.12; the names are those of 23.01 to 26.07.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final

from restbroker.job.command import DangerousCommands, HostSource, Repeat

# The first line that matches counts. `get_*` has exceptions, therefore the reads are spelt out where they are few.
_REPEAT: Final[tuple[tuple[Repeat, tuple[str, ...]], ...]] = (
    # The server tells that it was done before: see ALREADY.
    ("already_done", ("register", "create_room", "create_room_with_opts", "destroy_room")),
    ("already_done", ("ban_account", "unban_account")),
    # Answers from an offline store may empty it in some versions; the two are internal commands anyway.
    ("unsafe", ("get_offline_messages", "get_mam_messages")),
    # Reads.
    ("safe", ("get_*", "srg_get_*", "srg_list", "list_*", "count_*", "check_*", "num_resources", "resource_num")),
    ("safe", ("connected_users*", "registered_*", "user_resources", "user_sessions_info", "status", "status_*")),
    ("safe", ("stats", "stats_host", "incoming_s2s_number", "outgoing_s2s_number", "announce_motd_get")),
    ("safe", ("muc_online_rooms*", "muc_get_registered_*", "rooms_empty_list", "rooms_unused_list")),
    ("safe", ("delete_old_*_status", "export_db_status", "import_db_status", "modules_available")),
    ("safe", ("modules_installed", "mnesia_info", "mnesia_list_tables", "mnesia_table_info", "private_get")),
    # Setters that lead to the same state however often they run (measured: all answer the same again).
    ("safe", ("set_vcard*", "set_nickname", "set_last", "set_presence", "set_loglevel", "set_room_affiliation")),
    ("safe", ("change_password", "change_room_option", "private_set", "privacy_set", "unregister")),
    ("safe", ("add_rosteritem", "delete_rosteritem", "muc_register_nick", "subscribe_room", "subscribe_room_many")),
    ("safe", ("srg_create", "srg_add", "srg_delete", "srg_set_info", "srg_*_displayed", "srg_user_add")),
    ("safe", ("srg_user_del", "oauth_revoke_token", "announce_motd_delete")),
    ("safe", ("reload_config", "reload_spam_filter_files", "clear_cache", "gc", "reopen_log")),
)

ALREADY: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        # 409 is understood for every command; these are the ones that say it in other ways (measured).
        "create_room": re.compile("already exists"),
        "create_room_with_opts": re.compile("already exists"),
        "destroy_room": re.compile("doesn't exist"),
    }
)
"""By command, what a refusal says if the work was done before."""

ALREADY_BY_RESULT: Final = frozenset({"ban_account", "unban_account"})
"""Commands that answer 200 with 1 if the account is so already (measured on 24.12; 23.01 says 0 again)."""

CREATES: Final = frozenset({"register", "create_room", "create_room_with_opts"})
"""Commands whose object may be there already; a job may ask that this counts as done."""

QUESTIONS: Final = frozenset({"check_account", "check_password", "check_password_hash"})
"""Commands for which 200 with 1 is the answer "no", not a failure."""

FAIL_BY_RESULT: Final = frozenset({"restart_module"})
"""Commands with an integer as result for which 1 means that it failed."""

UNTOLD: Final = frozenset({"resource_num"})
"""Commands that refuse their arguments with words that the API does not tell: it says "internal_error" (23.01)."""

BY_JID: Final = frozenset({"muc_register_nick", "muc_unregister_nick"})
"""Commands whose version 3, with `user` and `host`, is refused as lacking the host (measured on 24.12 and 26.07).

Version 2 has a `jid` in their place.
"""

MESSAGE: Final = "send_message"
STANZA: Final = "send_stanza"
"""`MESSAGE` is the command that sends a message; `STANZA` sends it if the job gives it an `id`."""

_TIMEOUT_S: Final[tuple[tuple[float | None, tuple[str, ...]], ...]] = (
    # The batch forms and their status answer at once.
    (None, ("delete_old_*_batch", "delete_old_*_status", "export_db_status", "import_db_status")),
    (300.0, ("delete_old_*", "delete_expired_*", "rooms_*_destroy*", "backup", "restore", "load", "dump*")),
    (300.0, ("export*", "import_*", "install_fallback", "convert_to_scram", "update_sql", "process_rosteritems")),
    # With SQL and 50 members, more than 500 queries or 20 s (ejabberd issues 3116 and 3158).
    (60.0, ("srg_user_add", "srg_user_del", "push_alltoall", "push_roster_all")),
)

_FILLED: Final = frozenset({("register", "user"), ("register", "password"), ("change_password", "newpass")})
"""Arguments that may not be empty, though 23.01 takes them: it makes an account `@example.org`."""
_SECRET_ARGUMENT: Final = re.compile(r"pass|secret|token", re.IGNORECASE)

_SECRET_RESULT: Final = (
    "oauth_issue_token",
    "oauth_list_tokens",
    "get_cookie",
    "generate_invite*",
    "generate_reset_token",
    "list_invites",
)


_DANGERS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    # Reads or writes a file or directory on the server, mostly one that the job names; log and certificate files too.
    (
        "files",
        ("backup", "restore", "load", "dump", "dump_table", "dump_config", "install_fallback", "convert_to_yaml"),
    ),
    ("files", ("export2sql", "export_*", "import_*", "mnesia_change_nodename", "compile", "man", "gen_*_doc_for_*")),
    ("files", ("create_rooms_file", "destroy_rooms_file", "push_roster", "push_roster_all")),
    ("files", ("reload_spam_filter_files", "reopen_log", "rotate_log", "request_certificate", "revoke_certificate")),
    # Which machines serve together; also what only reads it, since it names them.
    ("cluster", ("*_cluster", "*_cluster_*", "get_master", "set_master")),
    # Whole tables, past all commands that know what is in them.
    ("database", ("mnesia_*", "delete_mnesia", "backup", "restore", "load", "dump", "dump_table", "install_fallback")),
    ("database", ("export2sql", "export_*", "import_*", "convert_to_scram", "update_sql", "print_sql_schema")),
    ("database", ("webadmin_node_db*",)),
    # What the server runs, and the cookie with which anything can be run on it.
    ("code", ("module_*", "modules_*", "restart_module", "compile", "update", "update_list", "get_cookie")),
    ("code", ("webadmin_node_contrib",)),
    # The server as a whole: ends or restarts it, its settings, its caches, its pages.
    ("server", ("stop", "stop_kindly", "halt", "restart", "restart_kindly", "evacuate_kindly", "start")),
    (
        "server",
        ("reload_config", "clear_cache", "gc", "stop_s2s_connections", "help", "webadmin_host_*", "webadmin_muc"),
    ),
)

_HOSTS: Final = frozenset({"host", "localhost", "grouphost", "service", "server", "localserver", "vhost"})
_JID: Final = frozenset({"jid", "from", "to", "with"})
# A shared roster group may show groups of another host, as group@host.
_SHOWN_GROUPS: Final = frozenset({"display", "add", "del", "value"})
# Up to interface version 2 some of these are whole JIDs.
_NAMES: Final = frozenset({"user", "localuser", "username", "room", "name", "group"})

_STRANGERS: Final = ("add_to_spam_filter_cache", "drop_from_spam_filter_cache")
"""Commands whose JIDs are those of senders elsewhere, while what is done stays on `host`."""

_BEYOND: Final = (
    # A stanza may be a command to the server (mod_configure, mod_adhoc_api), in an administrator's name.
    "send_stanza*",
    "process_rosteritems",
    "webadmin_*",
)


def dangerous_commands() -> tuple[DangerousCommands, ...]:
    """Return the commands, of every version, that affect the server itself rather than its users."""
    words = dict.fromkeys(word for word, _ in _DANGERS)
    named = {word: [name for own, names in _DANGERS if own == word for name in names] for word in words}
    # Asked for every job: one plain alternative is found faster than fnmatch's own patterns.
    return tuple(
        DangerousCommands(word, re.compile("|".join(re.escape(name).replace(r"\*", ".*") for name in names)))
        for word, names in named.items()
    )


def host_source_of(command: str, argument: str) -> HostSource | None:
    """Return how this argument says which virtual host the command is about; None if it does not."""
    if argument in _HOSTS:
        return "host"
    if argument in _JID:
        return None if command in _STRANGERS else "jid"
    if argument == "users" or (argument in _SHOWN_GROUPS and command.startswith("srg_")):
        return "jids"
    return "name" if argument in _NAMES else None


def reaches_beyond(command: str) -> bool:
    """Tell whether the command may reach other hosts than its arguments name."""
    return _matches(command, _BEYOND)


def repeat_of(command: str) -> Repeat:
    """Return whether the command may be sent again when it may have run; "unsafe" if nothing is known of it."""
    return next((repeat for repeat, names in _REPEAT if _matches(command, names)), "unsafe")


def timeout_of(command: str) -> float | None:
    """Return the command's own time-out in seconds; None if the target's time-out fits."""
    return next((seconds for seconds, names in _TIMEOUT_S if _matches(command, names)), None)


def must_be_filled(command: str, argument: str) -> bool:
    """Tell whether the argument is a new account's name, or a password that one gets; others may be empty."""
    return (command, argument) in _FILLED


def is_secret_argument(name: str) -> bool:
    """Tell whether values under this name are kept out of logs and messages."""
    return _SECRET_ARGUMENT.search(name) is not None


def has_secret_result(command: str) -> bool:
    """Tell whether the command's answer is a credential."""
    return _matches(command, _SECRET_RESULT)


def _matches(command: str, names: tuple[str, ...]) -> bool:
    # Most names have no wildcard, and fnmatch compiles each.
    return command in names or any(fnmatchcase(command, name) for name in names if "*" in name)
