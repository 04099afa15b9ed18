"""What the catalogue says of ejabberd's versions."""

import pytest

from restbroker.config.target import Target, Url
from restbroker.connectors.ejabberd.catalogue import api_of, for_version, too_old
from restbroker.connectors.ejabberd.options import Options


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, "26.07"),
        ("", "26.07"),
        ("unknown", "26.07"),
        ("23.01", "23.01"),
        ("23.01-1", "23.01"),
        ("24.02", "23.01"),
        ("24.12", "24.12"),
        ("25.03", "24.12"),
        ("26.07", "26.07"),
        ("27.01", "26.07"),
        ("18.06", "23.01"),
    ],
)
def test_the_newest_entry_that_is_not_newer_is_chosen(asked: str | None, found: str) -> None:
    assert for_version(asked).version == found


def test_each_version_has_all_its_commands() -> None:
    assert {version: len(for_version(version).commands) for version in ("23.01", "24.12", "26.07")} == {
        "23.01": 170,
        "24.12": 206,
        "26.07": 240,
    }


def test_register_takes_three_texts_of_which_one_is_secret() -> None:
    spec = for_version("24.12").commands["register"]
    assert [(argument.name, argument.type, argument.secret) for argument in spec.arguments] == [
        ("user", "string", False),
        ("host", "string", False),
        ("password", "string", True),
    ]
    assert (spec.result, spec.repeat, spec.secret_result) == ("restuple", "already_done", False)


def test_an_argument_changes_its_type_with_the_version() -> None:
    def groups(version: str, api: int | None = None) -> tuple[str, str | None]:
        argument = for_version(version, api).commands["add_rosteritem"].arguments[5]
        return argument.name, argument.element

    assert groups("23.01") == ("group", None)
    assert groups("24.12") == ("groups", "string")
    assert groups("24.12", 0) == ("group", None)


def test_a_pinned_interface_version_hides_newer_commands() -> None:
    assert "unban_account" in for_version("24.12").commands
    assert "unban_account" not in for_version("24.12", 1).commands


def test_a_renamed_argument_is_known_under_both_names() -> None:
    spec = for_version("24.12").commands["create_room"]
    old, new = spec.argument("name"), spec.argument("room")
    assert old is not None
    assert old == new


def test_commands_of_policy_user_take_host_and_user() -> None:
    spec = for_version("24.12").commands["get_roster"]
    assert (spec.arguments, spec.fills_host, spec.fills_user) == ((), True, True)


@pytest.mark.parametrize(
    "command",
    ["send_message", "send_stanza", "send_stanza_c2s", "announce_send_all", "stop", "backup", "oauth_issue_token"],
)
def test_what_would_happen_twice_is_unsafe_to_repeat(command: str) -> None:
    assert for_version("26.07").commands[command].repeat == "unsafe"


@pytest.mark.parametrize(
    "command", ["get_roster", "check_account", "set_vcard", "unregister", "srg_user_add", "status"]
)
def test_reads_and_setters_are_safe_to_repeat(command: str) -> None:
    assert for_version("26.07").commands[command].repeat == "safe"


def test_purges_have_a_long_time_out_and_their_status_has_none() -> None:
    commands = for_version("24.12").commands
    assert commands["delete_old_messages"].timeout_s == 300.0
    assert commands["delete_old_messages_status"].timeout_s is None
    assert commands["register"].timeout_s is None


@pytest.mark.parametrize("command", ["oauth_issue_token", "get_cookie", "generate_invite"])
def test_answers_that_are_credentials_are_marked(command: str) -> None:
    assert for_version("26.07").commands[command].secret_result


@pytest.mark.parametrize(
    ("path", "api"), [("/api", None), ("/api/v2", 2), ("register/v0", 0), ("register", None), ("/v2/api", None)]
)
def test_the_interface_version_is_read_from_the_end_of_a_path(path: str, api: int | None) -> None:
    assert api_of(path) == api


TOUCHES_THE_SERVER = {
    *("cluster", "mnesia", "modules", "erlang", "db", "sql", "config"),
    *("internal", "documentation", "ejabberdctl", "server"),
}
"""ejabberd's own tags (23.01 to 26.07) of commands that are about the server itself."""
HARMLESS = {
    # Which version, which hosts, and what was said.
    *("status", "registered_vhosts", "echo", "echo3"),
    # A user's own messages.
    *("get_mam_messages", "get_offline_messages"),
}


@pytest.mark.parametrize("version", ["23.01", "24.12", "26.07"])
def test_what_ejabberd_tags_as_about_the_server_is_dangerous(version: str) -> None:
    catalogue = for_version(version)
    about_it = {name for name, spec in catalogue.commands.items() if spec.tags & TOUCHES_THE_SERVER} - HARMLESS
    assert {name for name in about_it if not catalogue.dangerous_in(name)} == set()


@pytest.mark.parametrize("version", ["23.01", "24.12", "26.07"])
def test_what_takes_a_file_or_directory_of_the_server_is_dangerous(version: str) -> None:
    catalogue = for_version(version)
    takes = {n for n, spec in catalogue.commands.items() if any(spec.argument(a) for a in ("file", "dir", "in", "out"))}
    assert len(takes) > 15
    assert {name for name in takes if "files" not in catalogue.dangerous_in(name).get(name, ())} == set()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("backup", {"files", "database"}),
        ("join_cluster", {"cluster"}),
        ("mnesia_table_clear", {"database"}),
        ("module_install", {"code"}),
        ("get_cookie", {"code"}),
        ("stop", {"server"}),
        ("push_roster_all", {"files"}),
        ("register", set()),
        ("push_alltoall", set()),
        ("unregister", set()),
        ("send_message", set()),
        ("muc_online_rooms", set()),
    ],
)
def test_dangers_are_known_by_name_and_shown_as_tags(command: str, words: set[str]) -> None:
    catalogue = for_version("26.07")
    assert catalogue.dangerous_in(command).get(command, frozenset()) == words
    assert {tag for tag in catalogue.commands[command].tags if ":" in tag} == {f"dangerous:{word}" for word in words}


@pytest.mark.parametrize(
    ("version", "api", "old"),
    [
        ("23.01", 1, True),
        ("23.10-1", 0, True),
        ("24.02", 1, False),
        ("26.07", 3, False),
        (None, 1, False),
        ("23.01", None, False),
    ],
)
def test_a_server_is_too_old_for_a_configured_interface_version_before_24_02(
    version: str | None, api: int | None, old: bool
) -> None:
    target = Target("t", "ejabberd", Url("http", "127.0.0.1", 1), ("rest",), options=Options(api_version=api))
    assert (too_old(target, version) is not None) is old
