"""The stand-in's REST API plugin answers as plugins 1.2.5 and 1.3.10 were measured to on a real Openfire.

Each table is a measured run: its rows are asked in their order, against one server.
"""

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import attrs
import pytest

from tests.support.openfire.asking import JSON, XML, Answer, Asker
from tests.support.openfire.forms import Dialect
from tests.support.openfire.server import Openfire

Row: TypeAlias = tuple[str, dict[str, Any] | str | None, dict[str, str], int, str | None]
"""The request, its body and headers, the status, and the body or what it is (None: any, `-`: empty)."""

ANY: Final = None
EMPTY: Final = "-"
NO_ACCEPT: Final = {"Accept": ""}
AS_XML: Final = {"Accept": XML}
XML_BODY: Final = {"Content_Type": XML}
DECLARED: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'


def _row(asked: str, status: int, said: str | None = EMPTY, body: dict[str, Any] | str | None = None, **h: str) -> Row:
    return asked, body, h, status, said


def _alice(**fields: Any) -> dict[str, Any]:
    return {"username": "alice", "name": "Alice", "email": "a@example.org", "password": "p", **fields}


OLD_MISSING: Final = '{"exception":"UserNotFoundException","message":"Could not get user","ressource":"zz"}'
NEW_MISSING: Final = '{"resource":"zz","message":"Could not get user","exception":"UserNotFoundException"}'
PAIRS_OF_OLD: Final = {"property": [{"@key": "a", "@value": "b"}]}
PAIRS: Final = [{"key": "k", "value": "v"}]
CAROL_XML: Final = (
    "<user><username>carol</username><name>Carol</name><password>p</password>"
    '<properties><property key="a" value="b"/></properties></user>'
)
CAROL_AS_XML: Final = (
    f"{DECLARED}<user><username>carol</username><name>Carol</name>"
    '<properties><property key="a" value="b"/></properties></user>'
)

USERS_OF_OLD: Final = [
    _row("POST /users", 201, body=_alice()),
    _row(
        "POST /users",
        409,
        '{"exception":"UserAlreadyExistsException","message":"Could not create new user","ressource":"alice"}',
        _alice(),
    ),
    _row("POST /users", 500, EMPTY, _alice(), **NO_ACCEPT),
    _row(
        "POST /users",
        400,
        '{"exception":"PasswordIsNull","message":"Could not create new user, because password is null",'
        '"ressource":"nopw"}',
        {"username": "nopw"},
    ),
    _row("POST /users", 500, EMPTY, {"password": "p"}),
    _row("POST /users", 500, EMPTY, {}),
    _row("POST /users", 400, EMPTY, '{"username"', Content_Type=JSON),
    _row("POST /users", 201, EMPTY, _alice(username="bob", email=None, name="Bøb €", unknown=1)),
    _row("POST /users", 400, EMPTY, "", Content_Type=JSON),
    _row("POST /users", 415, EMPTY, "username=x", Content_Type="application/x-www-form-urlencoded"),
    _row("POST /users", 415, EMPTY, "x", Content_Type="text/plain"),
    _row("POST /users", 201, EMPTY, '{"username":"cs","password":"p"}', Content_Type=f"{JSON};charset=utf-8"),
    _row("POST /users", 201, EMPTY, CAROL_XML, **XML_BODY),
    _row("POST /users", 201, EMPTY, {"username": "dave", "password": "p", "properties": PAIRS_OF_OLD}),
    _row("POST /users", 201, EMPTY, {"username": "erin", "password": "p", "properties": PAIRS}),
    _row("POST /users", 500, EMPTY, {"username": "half", "password": "p", "properties": {"a": "b"}}),
    _row("GET /users/half", 200, ANY),
    _row("POST /users", 500, EMPTY, {"username": "Upper Case", "password": "p"}),
    _row("POST /users", 201, EMPTY, {"username": "böb", "password": "p"}),
    _row("GET /users/alice", 200, '{"username":"alice","name":"Alice","email":"a@example.org","properties":null}'),
    _row(
        "GET /users/carol",
        200,
        '{"username":"carol","name":"Carol","properties":{"property":{"@key":"a","@value":"b"}}}',
    ),
    _row("GET /users/erin", 200, '{"username":"erin","name":"","properties":null}'),
    _row("GET /users/bob", 200, '{"username":"bob","name":"Bøb €","properties":null}'),
    _row("GET /users/carol", 200, CAROL_AS_XML, **AS_XML),
    _row("GET /users/zz", 404, OLD_MISSING),
    _row("GET /users/zz", 500, EMPTY, **NO_ACCEPT),
    _row("GET /users/zz", 500, EMPTY, Accept="*/*"),
    _row(
        "GET /users/zz",
        404,
        f"{DECLARED}<error><exception>UserNotFoundException</exception><message>Could not get user</message>"
        "<ressource>zz</ressource></error>",
        **AS_XML,
    ),
    _row("GET /users/alice", 406, EMPTY, Accept="text/html"),
    _row("GET /users/zz", 404, OLD_MISSING, Accept=f"{JSON}, text/plain"),
    _row("HEAD /users/alice", 200),
    _row("HEAD /users/zz", 404),
    _row(
        "GET /users?search=ali",
        200,
        '{"user":{"username":"alice","name":"Alice","email":"a@example.org","properties":null}}',
    ),
    _row("GET /users?propertyKey=zzz", 200, "{}"),
    _row("PUT /users/alice", 200, EMPTY, {"name": "Alice3"}),
    _row("PUT /users/zz", 404, OLD_MISSING, {"name": "x"}),
    _row("POST /lockouts/alice", 201),
    _row("POST /lockouts/alice", 201),
    _row("POST /lockouts/zz", 404, OLD_MISSING),
    _row("DELETE /lockouts/alice", 200),
    _row("DELETE /lockouts/alice", 200),
]

USERS: Final = [
    _row("POST /users", 201, body=_alice()),
    _row(
        "POST /users",
        409,
        '{"resource":"alice","message":"Could not create new user","exception":"UserAlreadyExistsException"}',
        _alice(),
    ),
    _row("POST /users", 409, ANY, _alice(), **NO_ACCEPT),
    _row(
        "POST /users",
        400,
        '{"resource":"nopw","message":"Could not create new user, because password is null",'
        '"exception":"PasswordIsNull"}',
        {"username": "nopw"},
    ),
    _row("POST /users", 500, EMPTY, {"password": "p"}),
    _row("POST /users", 500, EMPTY, '{"username"', Content_Type=JSON),
    _row("POST /users", 500, EMPTY, _alice(username="bob", unknown=1)),
    _row("GET /users/bob", 404, ANY),
    _row("POST /users", 500, EMPTY, "", Content_Type=JSON),
    _row("POST /users", 415, EMPTY, "x", Content_Type="text/plain"),
    _row("POST /users", 201, EMPTY, CAROL_XML, **XML_BODY),
    _row("POST /users", 500, EMPTY, {"username": "dave", "password": "p", "properties": PAIRS_OF_OLD}),
    _row("POST /users", 201, EMPTY, {"username": "erin", "password": "p", "properties": PAIRS}),
    _row("POST /users", 500, EMPTY, {"username": "half", "password": "p", "properties": [{"value": "b"}]}),
    _row("GET /users/half", 200, ANY),
    _row(
        "GET /users/alice",
        200,
        '{"username":"alice","name":"Alice","email":"a@example.org","password":null,"properties":[]}',
    ),
    _row(
        "GET /users/carol",
        200,
        '{"username":"carol","name":"Carol","password":null,"properties":[{"key":"a","value":"b"}]}',
    ),
    _row(
        "GET /users/erin", 200, '{"username":"erin","name":"","password":null,"properties":[{"key":"k","value":"v"}]}'
    ),
    _row("GET /users/carol", 200, CAROL_AS_XML, **AS_XML),
    _row("GET /users/zz", 404, NEW_MISSING),
    *(
        _row(
            "GET /users/zz",
            404,
            f"{DECLARED}<error><exception>UserNotFoundException</exception><message>Could not get user</message>"
            "<resource>zz</resource></error>",
            Accept=accept,
        )
        for accept in ("", "*/*", XML, f"{JSON}, text/plain")
    ),
    _row("GET /users/alice", 406, EMPTY, Accept="text/html"),
    _row("GET /users?search=zzz", 200, '{"users":[]}'),
    _row("PUT /users/zz", 404, NEW_MISSING, {"name": "x"}),
    _row("POST /lockouts/zz", 404, NEW_MISSING),
]

ROSTER_OF_OLD: Final = [
    _row("GET /users/alice/roster", 200, "{}"),
    _row(
        "POST /users/alice/roster",
        201,
        body={"jid": "bob@example.org", "nickname": "Bob", "subscriptionType": 3, "groups": {"group": ["Friends"]}},
    ),
    _row(
        "POST /users/alice/roster",
        201,
        body={"jid": "carol@example.org", "nickname": "C", "subscriptionType": 3, "groups": ["Friends"]},
    ),
    _row(
        "POST /users/alice/roster",
        409,
        '{"exception":"UserAlreadyExistsException","message":"Could not create roster item","ressource":""}',
        {"jid": "bob@example.org"},
    ),
    _row(
        "POST /users/alice/roster",
        400,
        '{"exception":"IllegalArgumentException","message":"JID is null","ressource":"JID"}',
        {"nickname": "x"},
    ),
    _row("POST /users/alice/roster", 500, EMPTY, {"jid": "not a jid@@"}),
    _row("POST /users/zz/roster", 201, EMPTY, {"jid": "bob@example.org"}),
    _row(
        "GET /users/alice/roster",
        200,
        '{"rosterItem":[{"jid":"bob@example.org","nickname":"Bob","subscriptionType":"3",'
        '"groups":{"group":"Friends"}},'
        '{"jid":"carol@example.org","nickname":"C","subscriptionType":"3","groups":null}]}',
    ),
    _row("PUT /users/alice/roster/bob@example.org", 200, EMPTY, {"jid": "bob@example.org", "nickname": "B"}),
    _row("PUT /users/alice/roster/bob%40example.org", 200, EMPTY, {"jid": "bob@example.org", "nickname": "B"}),
    _row(
        "PUT /users/alice/roster/nn@example.org",
        404,
        '{"exception":"UserNotFoundException","message":"Could not update the roster","ressource":"nn@example.org"}',
        {"jid": "nn@example.org"},
    ),
    _row("DELETE /users/alice/roster/bob@example.org", 200),
    _row(
        "DELETE /users/alice/roster/bob@example.org",
        404,
        '{"exception":"RosterItemNotFound","message":"Roster Item could not deleted","ressource":"bob@example.org"}',
    ),
]

ROSTER: Final = [
    _row("GET /users/alice/roster", 200, '{"rosterItem":[]}'),
    _row("POST /users/alice/roster", 500, EMPTY, {"jid": "bob@example.org", "groups": {"group": ["Friends"]}}),
    _row(
        "POST /users/alice/roster",
        201,
        body={"jid": "carol@example.org", "nickname": "C", "subscriptionType": 3, "groups": ["Friends"]},
    ),
    _row(
        "GET /users/alice/roster",
        200,
        '{"rosterItem":[{"jid":"carol@example.org","nickname":"C","subscriptionType":3,"groups":["Friends"]}]}',
    ),
    _row(
        "GET /users/alice/roster",
        200,
        f"{DECLARED}<roster><rosterItem><jid>carol@example.org</jid><nickname>C</nickname>"
        "<subscriptionType>3</subscriptionType><groups><group>Friends</group></groups></rosterItem></roster>",
        **AS_XML,
    ),
]


def _ask(asker: Asker, row: Row) -> Answer:
    asked, body, headers, status, said = row
    method, _, path = asked.partition(" ")
    got = asker.rest(method, path, body, **headers)
    assert got.status == status, (asked, body, got.text)
    match said:
        case "-":
            assert (got.body, got.kind if method != "HEAD" else "-") == (b"", "-"), asked
        case str():
            assert got.text == said
        case None:
            pass
    return got


@attrs.frozen
class Run:
    """A measured run."""

    dialect: Dialect
    rows: list[Row]
    knows_alice: bool


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(Run("1.2", USERS_OF_OLD, knows_alice=False), id="users-1.2"),
        pytest.param(Run("1.5", USERS, knows_alice=False), id="users-1.5"),
        pytest.param(Run("1.2", ROSTER_OF_OLD, knows_alice=True), id="roster-1.2"),
        pytest.param(Run("1.5", ROSTER, knows_alice=True), id="roster-1.5"),
        pytest.param(Run("1.12", ROSTER, knows_alice=True), id="roster-1.12"),
    ],
)
def test_users_and_rosters_are_answered_as_measured(run: Run) -> None:
    with Openfire(run.dialect) as server:
        if run.knows_alice:
            server.world.register("alice")
        for row in run.rows:
            _ask(Asker(server), row)


@pytest.fixture(params=["1.2", "1.5", "1.12"])
def asker(request: pytest.FixtureRequest) -> Iterator[Asker]:
    with Openfire(request.param) as server:
        server.world.register("alice")
        yield Asker(server)


def test_a_rename_of_somebody_with_a_roster_fails_half_way_in_the_oldest(asker: Asker) -> None:
    world = asker.server.world
    world.befriend("alice", "bob")
    status = asker.rest("PUT", "/users/alice", {"username": "alicia"}).status
    names = {name for name in world.accounts if name.startswith("ali")}
    is_oldest = asker.server.dialect == "1.2"
    assert (status, names) == ((404, {"alice", "alicia"}) if is_oldest else (200, {"alicia"}))


@pytest.mark.parametrize("name", ["x" * 65, "a b", "a@b", ""])
def test_names_that_openfire_does_not_take_are_refused(asker: Asker, name: str) -> None:
    got = asker.rest("POST", "/users", {"username": name, "password": "p"})
    assert got.status == (500 if name else 400)


@pytest.mark.parametrize("name", ["x" * 64, "big\\20user", "UPPER", "a\\40b"])
def test_names_that_openfire_takes_are_taken_in_lower_case(asker: Asker, name: str) -> None:
    assert asker.rest("POST", "/users", {"username": name, "password": "p"}).status == 201
    assert name.casefold() in asker.server.world.accounts
    assert asker.rest("POST", "/users", {"username": name.casefold(), "password": "p"}).status == 409


def test_the_groups_of_a_user_have_their_dialects_key(asker: Asker) -> None:
    key = "groupnames" if asker.server.dialect == "1.12" else "groupname"
    none = {"1.2": "{}", "1.5": '{"groupname":[]}', "1.12": '{"groupnames":[]}'}[asker.server.dialect]
    assert asker.rest("GET", "/users/alice/groups").text == none
    assert asker.rest("POST", "/users/alice/groups", {key: ["Gnew"]}).status == 201
    assert asker.rest("POST", "/users/alice/groups/G1").status == 201
    assert asker.rest("GET", "/users/alice/groups").json == {key: ["G1", "Gnew"]}
    assert asker.rest("DELETE", "/users/alice/groups/G1").status == 200
    assert asker.rest("DELETE", "/users/alice/groups", {key: ["Gnew"]}).status == 200
    assert asker.rest("GET", "/users/alice/groups").text == none
    assert asker.rest("GET", "/users/zz/groups").status == 404


def test_groups_are_answered_as_measured(asker: Asker) -> None:
    is_oldest = asker.server.dialect == "1.2"
    assert asker.rest("GET", "/groups").text == ("{}" if is_oldest else '{"groups":[]}')
    is_newest = asker.server.dialect == "1.12"
    people: dict[str, Any] = {"admins": [], "members": []} if is_newest else {}
    if is_newest:
        assert asker.rest("POST", "/groups", {"name": "G1", "description": "d"}).status == 500
    assert asker.rest("POST", "/groups", {"name": "G1", "description": "d", **people}).status == 201
    assert asker.rest("POST", "/groups", {"name": "G1", "description": "d", **people}).text == (
        '{"exception":"GroupAlreadyExistsException","message":"Could not create a group","ressource":"G1"}'
        if is_oldest
        else '{"resource":"G1","message":"Could not create a group","exception":"GroupAlreadyExistsException"}'
    )
    assert asker.rest("POST", "/groups", {"description": "d"}).status == 500
    none = "null" if is_oldest else "[]"
    shared = ',"shared":false' if is_newest else ""
    shown = f'{{"name":"G1","description":"d","admins":{none},"members":{none}{shared}}}'
    assert asker.rest("GET", "/groups/G1").text == shown
    assert asker.rest("GET", "/groups/zz").json["message"] == "Could not find group"
    mismatched = asker.rest("PUT", "/groups/G1", {"name": "G2", "description": "d"})
    resource = mismatched.json["ressource" if is_oldest else "resource"]
    assert (mismatched.status, resource) == (400, "G1 != G2")
    assert asker.rest("PUT", "/groups/G1", {"name": "G1", "description": "x", **people}).status == 200
    assert [asker.rest("DELETE", "/groups/G1").status for _ in "12"] == [200, 404]
