"""A token admits a sender who knows it, for what it allows: commands, hosts, and danger only where it says so."""

import stringprep
from typing import Any

import pytest

from restbroker.config.tokens import Token
from restbroker.job import auth
from restbroker.job.auth import AccessRequest
from restbroker.job.command import Command
from restbroker.job.outcome import Reason
from restbroker.servers.ejabberd.catalogue import for_version
from tests.support.rows import rows


def token(allow: tuple[str, ...] = ("*",), hosts: tuple[str, ...] = (), **more: Any) -> Token:
    return Token("app", (), allow=allow, hosts=hosts, **more)


def refused(
    grant: Token, endpoint: str, default_host: str | None = None, version: str | None = "24.12", **arguments: Any
) -> Reason | None:
    catalogue = for_version(version)
    spec = catalogue.commands.get(endpoint.partition("/")[0])
    command = Command(endpoint, arguments)
    return auth.refusal(
        grant, AccessRequest(command, spec, catalogue.dangerous_in(endpoint), default_host, "eu", "low[1]")
    )


def code(reason: Reason | None) -> str | None:
    return None if reason is None else reason.code


@rows(("allow", "endpoint", "expected"), [
    (("*",), "register", None),
    (("*",), "of_a_module_that_nobody_knows", None),
    (("register",), "register", None),
    (("register",), "register/v1", None),
    (("srg_*", "send_*"), "send_message", None),
    (("register",), "unregister", "CommandNotAllowed"),
    (("REGISTER",), "register", "CommandNotAllowed"),
    ((), "register", "CommandNotAllowed"),
    (("dangerous:*",), "register", "CommandNotAllowed"),
    (("*",), "backup", "DangerousCommand"),
    (("backup",), "backup", "DangerousCommand"),
    (("*",), "backup/v1", "DangerousCommand"),
    (("*",), "v1/backup", "DangerousCommand"),
    (("*",), "Backup", "DangerousCommand"),
    (("*",), "dump-table", "DangerousCommand"),
    (("dangerous:backup",), "backup", None),
    (("dangerous:backup",), "restore", "DangerousCommand"),
    (("dangerous:*",), "backup", None),
    (("dangerous:mnesia_*",), "mnesia_info", None),
    (("dangerous:cluster",), "join_cluster", None),
    (("dangerous:files",), "backup", "DangerousCommand"),
    (("dangerous:files", "dangerous:database"), "backup", None),
    (("*", "dangerous:backup"), "v1/backup", None),
    (("dangerous:backup",), "v1/backup", "CommandNotAllowed"),
    (("dangerous:backup",), "backup/stop", "DangerousCommand"),
    (("dangerous:mnesia_*",), "mnesia_info/stop", "DangerousCommand"),
    (("*", "dangerous:check_account"), "check_account/stop", "DangerousCommand"),
])  # fmt: skip
def test_a_command_needs_a_pattern_and_a_dangerous_one_says_so(
    allow: tuple[str, ...], endpoint: str, expected: str | None
) -> None:
    assert code(refused(token(allow), endpoint)) == expected


def test_command_of_newer_server_is_dangerous_on_older_ones_too() -> None:
    assert "export_db" not in for_version("23.01").commands
    assert for_version("23.01").dangerous_in("export_db") == {"export_db": {"files", "database"}}


ONE = token(hosts=("example.org", "*.example.org"))


@rows(("endpoint", "arguments"), [
    ("register", {"user": "bob", "host": "example.org", "password": "p@evil.org"}),
    ("register", {"user": "bob", "host": "EXAMPLE.org", "password": "x"}),
    ("muc_online_rooms", {"service": "conference.example.org"}),
    ("muc_online_rooms", {"host": "conference.example.org"}),
    ("send_message", {"type": "chat", "from": "a@example.org/x@evil.org", "to": "b@example.org", "body": "c@d.e"}),
    ("send_message", {"from": "example.org", "to": "example.org/announce/online", "body": ""}),
    ("send_message", {"from": "a@example.org/Büro", "to": "r@conference.example.org/Zoë", "body": ""}),
    ("register", {"user": "bob", "host": "exam\u00adple.org", "password": "x"}),
    ("get_roster", {"user": "bob", "host": "example.org"}),
    (
        "srg_create",
        {"group": "g", "host": "example.org", "label": "", "description": "a@b.c", "display": ["g", "h"]},
    ),
    ("subscribe_room_many", {"users": [{"jid": "a@example.org", "nick": "n"}], "room": "r@conference.example.org"}),
])  # fmt: skip
def test_a_token_bound_to_hosts_may_do_what_stays_on_them(endpoint: str, arguments: dict[str, Any]) -> None:
    assert refused(ONE, endpoint, **arguments) is None


@pytest.mark.promise("Security: who can push to the queues", "more than their token allows")
@rows(("endpoint", "arguments"), [
    ("register", {"user": "bob", "host": "evil.org", "password": "x"}),
    ("register", {"user": "bob", "host": "notexample.org", "password": "x"}),
    ("register", {"user": "bob", "host": "example.org ", "password": "x"}),
    ("register", {"user": "bob@evil.org", "host": "example.org", "password": "x"}),
    ("register", {"user": "bob", "host": ["example.org", "evil.org"], "password": "x"}),
    ("register", {"user": "bob", "host": None, "password": "x"}),
    ("register", {"user": "bob", "host": "", "password": "x"}),
    ("register", {"user": "bob", "host": {"a": "example.org"}, "password": "x"}),
    ("register", {"user": "bob", "password": "x"}),
    ("muc_online_rooms", {"service": "global"}),
    ("muc_online_rooms", {"service": "conference.example.org", "host": "evil.org"}),
    ("add_rosteritem", {"localuser": "a", "localhost": "example.org", "user": "b", "host": "evil.org"}),
    ("add_rosteritem", {"localuser": "a", "localserver": "evil.org", "user": "b", "host": "example.org"}),
    ("send_message", {"from": "a@evil.org", "to": "b@example.org"}),
    ("send_message", {"from": "a@example.org", "to": "b@evil.org/example.org"}),
    ("send_message", {"from": "a@example.org", "to": "b@x@example.org"}),
    ("send_message", {"from": "a@example.org", "to": ["b@example.org"]}),
    ("send_message", {"from": "a@example.org", "to": "example.org/announce/all-hosts/online"}),
    ("send_message", {"from": "a@example.org", "to": "@evil.org"}),
    ("send_message", {"from": "a@example.org", "to": "example.org/ａnnounce/all－hosts/online"}),
    ("send_message", {"from": "a@example.org", "to": "example.org/\x7f"}),
    ("send_message", {"from": "a@example.org", "to": "b\uff20evil.org\uff0f.example.org"}),
    ("send_message", {"from": "a@example.org", "to": "\u00ad"}),
    ("send_stanza", {"from": "a@example.org", "to": "b@example.org", "stanza": "<message/>"}),
    ("srg_user_add", {"user": "a", "host": "example.org", "group": "g", "grouphost": "evil.org"}),
    ("srg_create", {"group": "g", "host": "example.org", "display": ["g", "h@evil.org"]}),
    ("srg_create", {"group": "g", "host": "example.org", "display": "g\\nh@evil.org"}),
    (
        "send_direct_invitation",
        {"room": "r", "service": "conference.example.org", "users": "a@example.org:b@evil.org"},
    ),
    ("subscribe_room_many", {"users": [{"jid": "a@evil.org", "nick": "n"}], "room": "r@conference.example.org"}),
    ("subscribe_room_many", {"users": {"a\uff20evil.org": "n"}, "room": "r@conference.example.org"}),
    ("subscribe_room_many", {"users": {"a@evil.org": "n"}, "room": "r@conference.example.org"}),
    ("subscribe_room_many", {"users": [{"user": "a", "host": "evil.org"}], "room": "r@conference.example.org"}),
    ("get_roster", {"user": "bob"}),
    ("delete_old_users", {"days": 30}),
    ("registered_vhosts", {}),
    ("status", {}),
    ("process_rosteritems", {"action": "delete", "users": "a@example.org", "contacts": "b@example.org"}),
    ("of_a_module_that_nobody_knows", {"host": "example.org"}),
])  # fmt: skip
def test_host_bound_token_may_do_nothing_that_may_reach_others(endpoint: str, arguments: dict[str, Any]) -> None:
    assert code(refused(ONE, endpoint, **arguments)) == "HostNotAllowed"


ROOM = {"service": "conference.example.org", "affiliation": "owner"}
OF_24_12 = "set_room_affiliation has no argument 'jid'; it takes room, service, user, host, affiliation."


@pytest.mark.promise("Security: who can push to the queues", "more than their token allows")
@rows(("version", "endpoint", "arguments", "expected", "words"), [
    ("24.12", "set_room_affiliation", {**ROOM, "room": "r", "jid": "a@example.org"}, "BadArgument", OF_24_12),
    ("24.12", "set_room_affiliation", {**ROOM, "room": "r", "jid": "a@evil.org"}, "BadArgument", OF_24_12),
    (None, "set_room_affiliation", {**ROOM, "room": "r", "jid": "a@example.org"}, "BadArgument", OF_24_12),
    (None, "set_room_affiliation", {**ROOM, "name": "r", "jid": "a@example.org"}, "HostNotAllowed", "'name'"),
    ("24.12", "register", {"user": "b", "host": "example.org", "HOST": "evil.org", "password": "x"},
     "BadArgument", "register has no argument 'HOST'; it takes user, host, password."),
    ("24.12", "register", {"user": "b", "host": ["evil.org"]}, "HostNotAllowed", "argument host is a list"),
])  # fmt: skip
def test_an_argument_unknown_to_the_servers_version_is_named_first(
    version: str | None, endpoint: str, arguments: dict[str, Any], expected: str, words: str
) -> None:
    reason = refused(ONE, endpoint, version=version, **arguments)
    assert reason is not None
    assert (reason.code, words in reason.message) == (expected, True), reason


INVISIBLE = [chr(code) for code in sorted(stringprep.b1_set)]


@rows("character", INVISIBLE)
@rows("to", [
    "example.org/announce/all{}-hosts/motd",
    "example.org/{}announce/all-hosts/motd",
    "example.org/announce/all-hosts/motd{}",
    "{}@example.org/announce/all-hosts/motd",
    "admin@example.org/ann{}ounce/all-hosts/motd",
    "exam{}ple.org/announce/all-{}hosts/motd",
    "ev{}il.org",
    "b@ev{}il.org/x",
])  # fmt: skip
def test_name_a_server_maps_to_nothing_reaches_no_other_host(character: str, to: str) -> None:
    grant = token(hosts=("example.org", "[!e]*"))
    for address in (to.replace("{}", character), character + to.replace("{}", character)):
        found = refused(grant, "send_message", **{"from": "a@example.org", "to": address, "body": ""})
        assert code(found) == "HostNotAllowed", ascii(address)
    assert code(refused(grant, "register", host=f"{character}evil.org", user="b")) == "HostNotAllowed"
    assert refused(grant, "register", host=f"exa{character}mple.org", user="b") is None


def test_filled_in_host_counts_as_if_the_job_had_named_it() -> None:
    assert refused(ONE, "register", "example.org", user="bob", password="x") is None
    assert refused(ONE, "get_roster", "example.org", user="bob") is None
    assert code(refused(ONE, "register", "evil.org", user="bob", password="x")) == "HostNotAllowed"
    assert refused(ONE, "register", "evil.org", user="bob", host="example.org", password="x") is None
    assert code(refused(ONE, "status", "example.org")) == "HostNotAllowed"


def test_token_for_all_hosts_still_needs_one_named() -> None:
    grant = token(hosts=("*",))
    assert refused(grant, "register", user="bob", host="evil.org", password="x") is None
    assert code(refused(grant, "status")) == "HostNotAllowed"
    assert code(refused(grant, "register", user="bob", host="evil.org", unknown="x")) == "BadArgument"


def test_host_so_long_that_it_may_be_a_secret_is_not_shown() -> None:
    reason = refused(ONE, "register", user="b", host="h" * 81)
    assert reason is not None
    assert "on the host (of 81 characters)." in reason.message


def test_allowed_dangerous_command_still_stays_on_the_hosts() -> None:
    grant = token(("dangerous:*",), ("example.org",))
    assert refused(grant, "convert_to_scram", host="example.org") is None
    assert code(refused(grant, "convert_to_scram", host="evil.org")) == "HostNotAllowed"
    assert code(refused(grant, "stop")) == "HostNotAllowed"


@rows(("grant", "endpoint", "arguments", "words"), [
    (token(("send_*",)), "register", {}, ("register", 'Add "register"')),
    (token(), "backup", {"file": "/x"}, ("backup", "database, files", '"dangerous:backup"')),
    (token(), "v1/stop", {}, ("stop (in v1/stop) controls", '"dangerous:stop"')),
    (token(), "check_account/Stop", {}, ("Stop (in check_account/Stop) controls", '"dangerous:Stop"')),
    (ONE, "kick_user", {"user": "bob", "host": "evil.org"}, ("kick_user", "'evil.org'", "Hosts")),
    (ONE, "status", {}, ("status", "all of them", "without Hosts")),
    (ONE, "register", {"host": 5}, ("register", "its argument host is a number", "Hosts")),
    (token(targets=("us",)), "status", {}, ("does not allow jobs for the target eu.", "Targets in Tokens")),
    (token(queues=("rest",)), "status", {}, ("low[1]", "Queues in Tokens")),
])  # fmt: skip
def test_refusal_names_the_token_the_object_and_the_setting(
    grant: Token, endpoint: str, arguments: dict[str, Any], words: tuple[str, ...]
) -> None:
    reason = refused(grant, endpoint, **arguments)
    assert reason is not None
    shown = f"{reason.message} {reason.hint}"
    assert '"app"' in shown
    assert all(word in shown for word in words), shown


@rows(("grant", "wanted"), [
    (token(), None),
    (token(targets=("e?", "us")), None),
    (token(targets=("us", "EU")), "TargetNotAllowed"),
    (token(queues=("rest", "low*")), None),
    (token(queues=("low[1]",)), None),
    (token(queues=("low1", "rest")), "QueueNotAllowed"),
    (token(targets=("us",), queues=("rest",)), "TargetNotAllowed"),
    (token(targets=("eu",), queues=("rest",)), "QueueNotAllowed"),
])  # fmt: skip
def test_a_token_is_good_where_its_targets_and_queues_say(grant: Token, wanted: str | None) -> None:
    assert code(refused(grant, "status")) == wanted
    assert auth.reaches(grant, "eu", ["other", "low[1]"]) is (wanted is None)
