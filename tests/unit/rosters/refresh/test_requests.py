"""What jobs for rosters want is read in each form, and what Prosody would choke on is refused by name."""

from restbroker.job.command import Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Reason
from restbroker.rosters.refresh import catalogue, requests
from restbroker.rosters.refresh.requests import Refresh, RosterRequest, Show
from restbroker.rosters.store import RosterChange

DOMAIN = "example.org"


def wish(command: str, domain: str | None = DOMAIN, /, **arguments: Json) -> RosterRequest:
    found = requests.read(Command(command, arguments), domain)
    assert not isinstance(found, Reason), found
    return found


def refusal(command: str, domain: str | None = DOMAIN, /, **arguments: Json) -> Reason:
    found = requests.read(Command(command, arguments), domain)
    assert isinstance(found, Reason), found
    return found


def test_a_command_for_one_user_is_one_change() -> None:
    rows: list[tuple[str, dict[str, Json], RosterChange]] = [
        ("add_contact", {"jid": "ann@example.org"}, RosterChange("john", {"ann@example.org": b"{}"})),
        (
            "add_contact",
            {"jid": "ann@elsewhere.net", "name": "Ann", "groups": {"Work": True}},
            RosterChange("john", {"ann@elsewhere.net": b'{"name":"Ann","groups":["Work"]}'}),
        ),
        ("remove_contact", {"jid": "ann@example.org"}, RosterChange("john", drop=("ann@example.org",))),
        (
            "set_roster",
            {"contacts": {"ann@example.org": {"groups": ["b", "a"]}}},
            RosterChange("john", {"ann@example.org": b'{"groups":["a","b"]}'}, whole=True),
        ),
        ("set_roster", {"contacts": {}}, RosterChange("john", {}, whole=True)),
        ("delete_roster", {}, RosterChange("john", forget=True)),
    ]
    for command, arguments, change in rows:
        assert wish(command, user="john", **arguments) == change
        assert wish(command, user="john@example.org", host=DOMAIN, **arguments) == change


def test_user_never_becomes_his_own_contact() -> None:
    def arguments(command: str, jid: str) -> dict[str, Json]:
        return {"contacts": {"ann@example.org": {}, jid: {}}} if command == "set_roster" else {"jid": jid}

    for command in ("add_contact", "set_roster"):
        own = refusal(command, user="john", **arguments(command, "john@example.org"))
        assert (own.code, own.message) == ("BadRoster", "john@example.org is the user themselves."), command
        there = arguments(command, "john@elsewhere.net")
        assert wish(command, user="john", **there)
        # Whose domain nobody knows may be the same.
        assert "may be the user themselves" in refusal(command, None, user="john", **there).message
        assert wish(command, None, user="john", **arguments(command, "john.doe@elsewhere.net"))
    change = RosterChange("john", drop=("john@example.org",))
    assert wish("remove_contact", user="john", jid="john@example.org") == change, "who is may be removed"


def test_user_asked_for_by_another_name_gets_no_contacts() -> None:
    for user in ("john;x", "john#x"):
        found = refusal("add_contact", user=user, jid="ann@example.org")
        assert "Prosody asks for the roster of john instead" in found.message, user
        assert wish("remove_contact", user=user, jid="ann@example.org")


def test_a_refresh_names_each_user_once_by_his_local_part() -> None:
    for users in (["john", "aaron", "john"], ["john@example.org", "aaron"]):
        assert wish("refresh", users=users) == Refresh(("john", "aaron"))
        assert wish("refresh", users="john") == Refresh(("john",)), users


def test_a_refresh_that_is_to_be_at_once_says_so_with_a_boolean() -> None:
    assert wish("refresh", users="john", now=True) == Refresh(("john",), at_once=True)
    assert wish("refresh", users="john", now=False) == wish("refresh", users="john", now=None) == Refresh(("john",))
    for value in ("true", 1):
        assert "argument now" in refusal("refresh", users="john", now=value).message, value


def test_refresh_without_users_is_refused() -> None:
    rows: list[dict[str, Json]] = [{}, {"users": []}, {"users": None}, {"users": {}}, {"users": 7}]
    assert [
        arguments
        for arguments in rows
        if not (refusal("refresh", **arguments).message.startswith("The list of users is "))
    ] == []


def test_roster_is_requested_by_user() -> None:
    assert wish("get_roster", user="john") == Show("john", DOMAIN)
    assert "argument user" in refusal("get_roster").message


def test_value_prosody_cannot_take_is_refused_by_name() -> None:
    rows: list[tuple[str, dict[str, Json], str]] = [
        ("refresh", {"users": ["john", "Not OK"]}, "Not OK"),
        ("refresh", {"users": ["john", None]}, "null"),
        ("refresh", {"users": ["john@elsewhere.net"]}, "john@elsewhere.net"),
        ("add_contact", {"user": "john", "jid": "bad@@jid"}, "bad@@jid"),
        ("add_contact", {"user": "john", "jid": "ann@example.org", "name": 7}, "ann@example.org"),
        ("set_roster", {"user": "john", "contacts": {"ann@example.org": None}}, "ann@example.org"),
        ("set_roster", {"user": "john"}, "contacts"),
        ("remove_contact", {"user": "john"}, "jid"),
        ("get_roster", {"user": "john", "host": "elsewhere.net"}, "elsewhere.net"),
        ("get_roster", {"user": "john", "host": 7}, "host"),
    ]
    for command, arguments, named in rows:
        reason = refusal(command, **arguments)
        assert reason.code == "BadRoster", (command, arguments)
        assert named in reason.message, (command, arguments)
        assert reason.hint, (command, arguments)


def test_contacts_as_a_text_are_refused_with_the_right_form() -> None:
    reason = refusal("set_roster", user="john", contacts='{"ann@example.org": {}}')
    assert reason.message == "The roster is a string, not an object or a list."
    assert "contacts:='{" in str(reason.hint)


def test_an_unknown_command_or_argument_is_refused() -> None:
    assert refusal("refresch").hint == f"These exist: {', '.join(sorted(catalogue.for_version(None).commands))}."
    reason = refusal("refresh", user="john")
    assert (reason.code, reason.hint) == ("BadArgument", "It takes users, now, host.")
