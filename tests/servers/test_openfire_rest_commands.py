"""Each command of the kind openfire-rest is the request that the plugin's sources and the measurements say it is.

Beside the stand-in, which knows the plugin's paths, and nothing of our catalogue.
"""

from pathlib import Path
from typing import Any, Final

from restbroker.job.outcome import Denied, Outcome
from restbroker.servers import registry
from tests.servers.openfire_recorded import is_recorded, recorded
from tests.servers.openfire_rest import ROOM, Side, opened
from tests.support.lines import Asked
from tests.support.openfire.forms import Dialect
from tests.support.openfire.server import REST, Openfire
from tests.support.openfire.world import Group

ROOM_XML = "<roomName>lobby</roomName><naturalName>Lobby</naturalName><description>d</description>"
ROOM_XML += (
    "<broadcastPresenceRoles><broadcastPresenceRole>moderator</broadcastPresenceRole>"
    "<broadcastPresenceRole>participant</broadcastPresenceRole><broadcastPresenceRole>visitor</broadcastPresenceRole>"
    "</broadcastPresenceRoles>"
)
"""A room that tells nobody's presence cannot be joined by the Chat API."""
NEW_XML = ROOM_XML.replace("lobby", "new")
VCARD = '<vCard xmlns="vcard-temp"><FN>Alice</FN></vCard>'
U, R, M = "/users/alice", "/chatrooms/lobby", "/chatrooms/lobby/members"


EXPECTED: Final[list[tuple[str, dict[str, Any], str, str]]] = [
    ("clustering_status", {}, "GET /clustering/status", ""),
    ("list_cluster_nodes", {}, "GET /clustering/nodes", ""),
    ("get_cluster_node", {"nodeId": "n 1"}, "GET /clustering/nodes/n%201", ""),
    ("openapi_yaml", {}, "GET /openapi.yaml", ""),
    ("openapi_json", {}, "GET /openapi.json", ""),
    ("list_groups", {}, "GET /groups", ""),
    (
        "create_group",
        {"name": "New", "description": "d", "members": ["alice"]},
        "POST /groups",
        (
            "<group><name>New</name><description>d</description><admins></admins>"
            "<members><member>alice</member></members></group>"
        ),
    ),
    ("get_group", {"groupName": "My Group"}, "GET /groups/My%20Group", ""),
    (
        "update_group",
        {"groupName": "My Group", "description": "e"},
        "PUT /groups/My%20Group",
        (
            "<group><name>My Group</name><description>e</description><admins></admins>"
            "<members><member>bob@example.org</member></members><shared>true</shared></group>"
        ),
    ),
    ("delete_group", {"groupName": "My Group"}, "DELETE /groups/My%20Group", ""),
    ("list_room_affiliations", {"roomName": "lobby", "affiliation": "members"}, f"GET {M}", ""),
    (
        "add_room_affiliation",
        {"roomName": "lobby", "affiliation": "members", "jid": "bob@example.org"},
        f"POST {M}/bob@example.org",
        "",
    ),
    (
        "add_room_affiliation_group",
        {"roomName": "lobby", "affiliation": "members", "groupname": "My Group"},
        f"POST {M}/group/My%20Group",
        "",
    ),
    (
        "delete_room_affiliation",
        {"roomName": "lobby", "affiliation": "members", "jid": "bob"},
        f"DELETE {M}/bob",
        "",
    ),
    (
        "delete_room_affiliation_group",
        {"roomName": "lobby", "affiliation": "members", "groupname": "My Group"},
        f"DELETE {M}/group/My%20Group",
        "",
    ),
    ("list_rooms", {"type": "all", "search": "lob"}, "GET /chatrooms?type=all&search=lob", ""),
    ("get_room", {"roomName": "lobby", "servicename": "conference"}, f"GET {R}?servicename=conference", ""),
    ("delete_room", {"roomName": "lobby"}, f"DELETE {R}", ""),
    ("create_room", {**ROOM, "roomName": "new"}, "POST /chatrooms", f"<chatRoom>{NEW_XML}</chatRoom>"),
    (
        "create_rooms_bulk",
        {"chatRooms": [ROOM]},
        "POST /chatrooms/bulk",
        f"<chatRooms><chatRoom>{ROOM_XML}</chatRoom></chatRooms>",
    ),
    ("update_room", ROOM, f"PUT {R}", f"<chatRoom>{ROOM_XML}</chatRoom>"),
    ("list_room_participants", {"roomName": "lobby"}, f"GET {R}/participants", ""),
    ("list_room_occupants", {"roomName": "lobby"}, f"GET {R}/occupants", ""),
    ("get_room_history", {"roomName": "lobby"}, f"GET {R}/chathistory", ""),
    (
        "invite_to_room",
        {"roomName": "lobby", "jid": "bob@example.org", "reason": "r"},
        f"POST {R}/invite/bob@example.org",
        "<mucInvitation><reason>r</reason></mucInvitation>",
    ),
    (
        "invite_many_to_room",
        {"roomName": "lobby", "jidsToInvite": ["bob@example.org"]},
        f"POST {R}/invite",
        "<mucInvitations><jidsToInvite><jid>bob@example.org</jid></jidsToInvite></mucInvitations>",
    ),
    ("list_chat_services", {}, "GET /chatservices", ""),
    (
        "create_chat_service",
        {"serviceName": "talk", "hidden": False},
        "POST /chatservices",
        "<chatService><serviceName>talk</serviceName><hidden>false</hidden></chatService>",
    ),
    ("broadcast_message", {"body": "a < b"}, "POST /messages/users", "<message><body>a &lt; b</body></message>"),
    ("get_unread_count", {"jid": "alice@example.org"}, "GET /archive/messages/unread/alice@example.org", ""),
    ("get_security_audit_log", {"limit": 5}, "GET /logs/security?limit=5", ""),
    ("list_sessions", {}, "GET /sessions", ""),
    ("user_sessions", {"username": "alice"}, "GET /sessions/alice", ""),
    ("kick_user_sessions", {"username": "alice"}, "DELETE /sessions/alice", ""),
    ("session_statistics", {}, "GET /system/statistics/sessions", ""),
    ("list_system_properties", {}, "GET /system/properties", ""),
    ("get_system_property", {"propertyKey": "x.y"}, "GET /system/properties/x.y", ""),
    (
        "create_system_property",
        {"key": "x.z", "value": "2"},
        "POST /system/properties",
        '<property key="x.z" value="2"/>',
    ),
    (
        "update_system_property",
        {"propertyKey": "x.y", "value": "2"},
        "PUT /system/properties/x.y",
        '<property key="x.y" value="2"/>',
    ),
    ("delete_system_property", {"propertyKey": "x.y"}, "DELETE /system/properties/x.y", ""),
    ("liveness", {}, "GET /system/liveness", ""),
    ("liveness_deadlock", {}, "GET /system/liveness/deadlock", ""),
    ("liveness_properties", {}, "GET /system/liveness/properties", ""),
    ("readiness", {}, "GET /system/readiness", ""),
    ("readiness_server", {}, "GET /system/readiness/server", ""),
    ("readiness_cluster", {}, "GET /system/readiness/cluster", ""),
    ("readiness_plugins", {}, "GET /system/readiness/plugins", ""),
    (
        "readiness_connections",
        {"connectionType": "SOCKET_C2S", "encrypted": True},
        "GET /system/readiness/connections?connectionType=SOCKET_C2S&encrypted=true",
        "",
    ),
    ("list_user_groups", {"username": "alice"}, f"GET {U}/groups", ""),
    (
        "add_user_to_groups",
        {"username": "alice", "groupnames": ["My Group"]},
        f"POST {U}/groups",
        "<groups><groupname>My Group</groupname></groups>",
    ),
    ("add_user_to_group", {"username": "alice", "groupName": "My Group"}, f"POST {U}/groups/My%20Group", ""),
    ("remove_user_from_group", {"username": "alice", "groupName": "My Group"}, f"DELETE {U}/groups/My%20Group", ""),
    (
        "remove_user_from_groups",
        {"username": "alice", "groupname": ["My Group"]},
        f"DELETE {U}/groups",
        "<groups><groupname>My Group</groupname></groups>",
    ),
    ("lock_user", {"username": "alice"}, "POST /lockouts/alice", ""),
    ("unlock_user", {"username": "alice"}, "DELETE /lockouts/alice", ""),
    ("get_roster", {"username": "alice"}, f"GET {U}/roster", ""),
    (
        "add_roster_item",
        {"username": "alice", "jid": "carol@example.org", "subscriptionType": "both"},
        f"POST {U}/roster",
        "<rosterItem><jid>carol@example.org</jid><subscriptionType>3</subscriptionType></rosterItem>",
    ),
    (
        "delete_roster_item",
        {"username": "alice", "rosterJid": "bob@example.org"},
        f"DELETE {U}/roster/bob@example.org",
        "",
    ),
    (
        "update_roster_item",
        {"username": "alice", "rosterJid": "bob@example.org", "groups": ["F"]},
        f"PUT {U}/roster/bob@example.org",
        "<rosterItem><jid>bob@example.org</jid><groups><group>F</group></groups></rosterItem>",
    ),
    ("list_users", {"propertyKey": "a", "propertyValue": "b c"}, "GET /users?propertyKey=a&propertyValue=b%20c", ""),
    (
        "create_user",
        {"username": "new", "password": "p", "email": "n@example.org"},
        "POST /users",
        "<user><username>new</username><email>n@example.org</email><password>p</password></user>",
    ),
    ("get_user", {"username": "alice"}, f"GET {U}", ""),
    (
        "update_user",
        {"username": "alice", "name": "A"},
        f"PUT {U}",
        "<user><username>alice</username><name>A</name></user>",
    ),
    ("delete_user", {"username": "alice"}, f"DELETE {U}", ""),
    (
        "legacy_userservice_post",
        {"type": "add", "username": "new", "password": "p", "secret": "rest-secret"},
        "POST /userservice?type=add&secret=rest-secret&username=new&password=p",
        "",
    ),
    ("legacy_userservice", {"type": "grouplist", "secret": "s"}, "GET /userservice?type=grouplist&secret=s", ""),
    ("get_vcard", {"username": "alice"}, f"GET {U}/vcard", ""),
    ("set_vcard", {"username": "alice", "vcard": VCARD}, f"PUT {U}/vcard", VCARD),
    ("delete_vcard", {"username": "alice"}, f"DELETE {U}/vcard", ""),
]


async def asked_of(server: Openfire, side: Side, command: str, given: dict[str, Any]) -> tuple[Outcome, list[Asked]]:
    """What becomes of the command in a small world, and what it asked."""
    server.world.accounts.clear()
    server.world.register("admin", "alice", "bob")
    server.world.accounts["alice"].vcard = VCARD
    server.world.groups["My Group"] = Group("My Group", members=["bob"], shared=True)
    server.asked.clear()
    return await side.do(command, **given), server.asked


async def test_each_command_is_the_request_that_the_plugin_knows(tmp_path: Path) -> None:
    assert [command for command, *_ in EXPECTED] == list(registry.catalogue("openfire-rest").commands)
    wrong = {}
    with Openfire(dialect="1.12") as newest:
        async with opened(tmp_path, newest) as side:
            for command, given, line, body in EXPECTED:
                outcome, (*read, asked) = await asked_of(newest, side, command, given)
                sent = (f"{asked.method} {asked.target.removeprefix(REST)}", asked.body.decode(), asked.content_type)
                reads = ["GET"] if command == "update_group" else []
                if (
                    (sent, [one.method for one in read]) != ((line, body, "application/xml" if body else ""), reads)
                    or asked.accept not in ("application/json", "application/xml", "application/yaml")
                    # The server knows the path, whatever it says about what is named there.
                    or isinstance(outcome, Denied)
                ):
                    wrong[command] = (sent, asked.accept, outcome)
    assert not wrong


async def test_the_stand_in_says_what_each_generation_was_recorded_to_say(tmp_path: Path) -> None:
    wrong: dict[tuple[str, str], object] = {}
    generations: tuple[tuple[Dialect, str], ...] = (("1.2", "restapi-1.2.5"), ("1.5", "restapi-1.3.10"))
    for dialect, name in generations:
        answers = recorded(name)
        with Openfire(dialect=dialect) as server:
            async with opened(tmp_path, server) as side:
                for command, given, _, _ in EXPECTED:
                    await asked_of(server, side, command, given)
                    if not is_recorded(answers, command, side.link.said[-1]):
                        wrong[name, command] = side.link.said[-1]
    assert not wrong
