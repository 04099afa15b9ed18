"""Which rows a command takes."""

import pytest

from restbroker.job.argument_check import BadRow, Checker
from restbroker.job.command import ArgumentSpec, CommandSpec
from restbroker.job.json_types import Json
from restbroker.servers import registry
from tests.support.rows import rows

COMMANDS = registry.catalogue("ejabberd", "24.12").commands


def checker(command: str, default_host: str | None = None, **const: Json) -> Checker:
    return Checker(COMMANDS[command], const, default_host)


def why(command: str, given: dict[str, Json], *, are_cells: bool = True, default_host: str | None = None) -> str:
    with pytest.raises(BadRow) as caught:
        checker(command, default_host).arguments(given, are_cells=are_cells)
    return str(caught.value)


def test_row_becomes_the_commands_arguments_after_common_ones() -> None:
    found = checker("register", host="example.org").arguments({"user": "a", "password": "b"}, are_cells=True)
    assert list(found.items()) == [("user", "a"), ("password", "b"), ("host", "example.org")]
    assert checker("delete_old_users").arguments({"days": "30"}, are_cells=True) == {"days": 30}
    assert checker("delete_old_users").arguments({"days": 30}, are_cells=False) == {"days": 30}


def test_a_row_of_an_unknown_server_may_have_the_form_of_any_version() -> None:
    unknown = Checker(registry.catalogue("ejabberd").commands["set_room_affiliation"], {}, None)
    newer = {"room": "tea", "service": "c.h", "user": "a", "host": "h", "affiliation": "none"}
    older = {"name": "tea", "service": "c.h", "jid": "a@h", "affiliation": "none"}
    assert [unknown.arguments(dict(row), are_cells=True) for row in (newer, older)] == [newer, older]
    with pytest.raises(BadRow, match="set_room_affiliation has no argument 'jids'"):
        unknown.arguments({**newer, "jids": "a@h"}, are_cells=True)


def test_a_list_is_texts_with_commas_or_json() -> None:
    item = {"localuser": "a", "localhost": "h", "user": "b", "host": "h", "nick": "B", "subs": "both"}
    check = checker("add_rosteritem")
    for cell in ("Work, Friends", '["Work","Friends"]'):
        assert check.arguments({**item, "groups": cell}, are_cells=True)["groups"] == ["Work", "Friends"]
    assert why("add_rosteritem", {**item, "groups": "[x"}) == "groups starts like a JSON list but is not one."
    wrong = why("add_rosteritem", {**item, "groups": [1]}, are_cells=False)
    assert wrong == "groups must be a list of the right type, not a list."


@rows(("given", "wrong"), [
    ({"user": "a", "password": "b"}, "register also needs host."),
    ({}, "register also needs user, host, password."),
    (
        {"user": "a", "host": "h", "passwrd": "b"},
        "register has no argument 'passwrd'; did you mean password?",
    ),
    (
        {"user": "a", "host": "h", "password=hunter2X": "b"},
        "register has no argument (a string of 17 characters); did you mean password?",
    ),
    (
        {"user": "a", "host": "h", "password": "b", "ok_if_exists": True},
        'register has no argument ok_if_exists; it is --ok-if-exists here, and a field next to "args" in a job.',
    ),
    ({"user": "a", "host": "h", "password": ""}, "password is empty."),
    ({"user": "", "host": "h", "password": "b"}, "user is empty."),
    ({"user": "a", "host": "", "password": "b"}, "host is empty."),
])  # fmt: skip
def test_missing_unknown_and_empty_columns_are_named(given: dict[str, Json], wrong: str) -> None:
    assert why("register", given) == wrong


def test_argument_filled_in_by_the_target_may_be_absent() -> None:
    check = checker("register", "example.org")
    assert check.arguments({"user": "a", "password": "b"}, are_cells=True) == {"user": "a", "password": "b"}
    assert check.arguments({"user": "a", "host": "", "password": "b"}, are_cells=True) == {"user": "a", "password": "b"}


def test_an_empty_cell_is_an_empty_text_where_that_can_be_meant() -> None:
    message: dict[str, Json] = {"type": "chat", "from": "a@h", "to": "b@h", "subject": "", "body": "x"}
    assert checker("send_message").arguments(dict(message), are_cells=True) == message
    assert why("send_message", {**message, "to": ""}) == "to is empty."
    # An object says what it means.
    assert checker("send_message").arguments({**message, "to": ""}, are_cells=False)["to"] == ""


def test_optional_argument_is_left_out_where_its_cell_is_empty() -> None:
    may = ArgumentSpec("may", "integer", optional=True)
    check = Checker(CommandSpec("c", (ArgumentSpec("must", "string"), may), "safe"), {}, None)
    assert check.arguments({"must": "", "may": ""}, are_cells=True) == {"must": ""}


@rows(
    ("value", "wrong"),
    [(1, "a number"), (None, "null"), (True, "a boolean"), ([], "a list"), ({}, "an object")],
)
def test_an_object_has_the_types_of_the_catalogue(value: Json, wrong: str) -> None:
    given: dict[str, Json] = {"user": "a", "host": "h", "password": value}
    assert why("register", given, are_cells=False) == f"password must be a string, not {wrong}."
    if value != 1:
        assert why("delete_old_users", {"days": value}, are_cells=False) == f"days must be an integer, not {wrong}."


def test_message_about_a_wrong_value_shows_no_secret() -> None:
    pin = CommandSpec("c", (ArgumentSpec("pin", "integer", secret=True),), "safe")
    with pytest.raises(BadRow) as caught:
        Checker(pin, {}, None).arguments({"pin": "s3cret"}, are_cells=True)
    assert "s3cret" not in str(caught.value)
    assert (
        why("delete_old_users", {"days": "soon"})
        == "delete_old_users: days must be an integer, not a string of 4 characters."
    )


def test_argument_with_two_names_or_given_for_all_is_refused() -> None:
    item: dict[str, Json] = {"localuser": "a", "localhost": "h", "localserver": "h", "user": "b", "host": "h"}
    assert why("add_rosteritem", item) == "localhost and localserver are the same argument."
    assert checker("register", host="h").names(["user", "host", "password"]) == "host is already given for all rows."


def test_unknown_command_accepts_anything() -> None:
    check = Checker(None, {"b": 2}, None)
    assert check.arguments({"a": "", "c": 1}, are_cells=False) == {"a": "", "c": 1, "b": 2}
