"""The dialects of one answer come out alike. Those of the REST API were measured on 1.2.5 and 1.3.10, and that of the
Chat API on ofchat 0.9.6.
"""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from restbroker.servers.openfire.normal import normal

CAROL = {"username": "carol", "name": "Carol", "properties": [{"key": "a", "value": "b"}]}
ERIN = {"username": "erin", "name": "", "properties": []}
DATES = {"creationDate": 1795156932932, "modificationDate": 1795156932932}
ROOM: dict[str, Any] = {"roomName": "lobby", "naturalName": "Lobby", **DATES, "maxUsers": 0, "persistent": True}
LISTS = (
    *("broadcastPresenceRoles", "owners", "admins", "members", "outcasts"),
    *("ownerGroups", "adminGroups", "memberGroups", "outcastGroups"),
)

Case = tuple[str, Any, list[Any]]
CASES: list[Case] = [
    ("SessionsCount", {"localSessions": 2, "clusterSessions": 0}, [{"localSessions": "2", "clusterSessions": "0"}]),
    (
        "UserEntity",
        CAROL,
        [
            {"username": "carol", "name": "Carol", "properties": {"property": {"@key": "a", "@value": "b"}}},
            {**CAROL, "password": None},
        ],
    ),
    ("UserEntity", ERIN, [{"username": "erin", "name": "", "properties": None}, {"username": "erin", "name": ""}]),
    ("UserEntities", {"users": []}, [{}, {"users": []}]),
    (
        "UserEntities",
        {"users": [ERIN, CAROL]},
        [
            {
                "user": [
                    {"username": "erin", "name": "", "properties": None},
                    {"username": "carol", "name": "Carol", "properties": {"property": [{"@key": "a", "@value": "b"}]}},
                ]
            }
        ],
    ),
    (
        "RosterEntities",
        {"rosterItem": [{"jid": "b@c", "nickname": "B", "subscriptionType": 3, "groups": ["Friends"]}]},
        [
            {"rosterItem": {"jid": "b@c", "nickname": "B", "subscriptionType": "3", "groups": {"group": "Friends"}}},
            {"rosterItem": [{"jid": "b@c", "nickname": "B", "subscriptionType": 3, "groups": ["Friends"]}]},
        ],
    ),
    (
        "GroupEntity",
        {"name": "G", "description": "d", "admins": [], "members": ["a"]},
        [{"name": "G", "description": "d", "admins": None, "members": {"member": "a"}}],
    ),
    (
        "GroupEntities",
        {"groups": [{"name": "G", "description": ""}]},
        [{"group": {"name": "G", "description": ""}}, {"groups": [{"name": "G", "description": ""}]}],
    ),
    ("UserGroupsEntity", {"groupnames": ["a"]}, [{"groupname": "a"}, {"groupname": ["a"]}, {"groupnames": ["a"]}]),
    ("UserGroupsEntity", {"groupnames": []}, [{}, {"groupname": []}]),
    (
        "SystemProperties",
        {"property": [{"key": "x", "value": "1"}]},
        [{"property": {"@key": "x", "@value": "1"}}, {"property": [{"key": "x", "value": "1"}]}],
    ),
    (
        "MUCRoomEntities",
        {"chatRooms": [{**ROOM, **{name: [] for name in LISTS}}]},
        [
            {
                "chatRoom": {
                    "roomName": "lobby",
                    "naturalName": "Lobby",
                    "creationDate": "2026-11-20T06:42:12.932Z",
                    "modificationDate": "2026-11-20T06:42:12.932Z",
                    "maxUsers": "0",
                    "persistent": "true",
                    "owners": None,
                }
            },
            {"chatRooms": [ROOM]},
        ],
    ),
    (
        "SessionEntities",
        {"sessions": [{"username": "a", "resource": "r", "priority": -1, "secure": False}]},
        [{"session": {"username": "a", "ressource": "r", "priority": "-1", "secure": "false"}}],
    ),
    (
        "OccupantEntities",
        {"occupants": [{"jid": "a@b"}]},
        [{"occupant": {"jid": "a@b"}}, {"occupants": [{"jid": "a@b"}]}],
    ),
    ("members", {"members": ["a@b"]}, [{"member": "a@b"}, {"members": ["a@b"]}]),
    (
        "MUCRoomMessageEntities",
        {"message": [{"from": "a@b", "body": "Hi"}]},
        [{"message": {"from": "a@b", "body": "Hi"}}],
    ),
    (
        "AssistQueues",
        {
            "queues": [
                {
                    "name": "Default Queue",
                    "status": "open",
                    "oldestEntry": 1795156932932,
                    "averageWaitTime": 0,
                    "maxChats": 4,
                    "currentChats": 0,
                    "users": [{"userID": "v@e", "queuePosition": 1, "estimatedTime": 15, "joinDate": 1795156932932}],
                }
            ]
        },
        [
            {
                "queue": {
                    "name": "Default Queue",
                    "status": "open",
                    "oldestEntry": "2026-11-20T06:42:12.932Z",
                    "averageWaitTime": "0",
                    "maxChats": "4",
                    "currentChats": "0",
                    "users": {
                        "user": {
                            "userID": "v@e",
                            "queuePosition": "1",
                            "estimatedTime": "15",
                            "joinDate": "2026-11-20T06:42:12.932Z",
                        }
                    },
                }
            }
        ],
    ),
    ("AssistEntity", {"groupchat": "r@c"}, [{"groupchat": "r@c", "chatroom": None}]),
    (
        "SipAccounts",
        {"accounts": [{"username": "a", "enabled": True}]},
        [{"account": {"username": "a", "enabled": "true"}}],
    ),
    (
        "MessageBlastEntities",
        {"blasts": [{"recipients": ["a"], "sendlater": True}]},
        [{"blast": {"recipients": "a", "sendlater": "true"}}],
    ),
    (
        "MessageBlastSentEntities",
        {"sentblasts": [{"readCount": 2, "completed": False}]},
        [{"sentblast": {"readCount": "2", "completed": "false"}}],
    ),
]


def test_each_dialect_is_brought_into_the_newest() -> None:
    wrong = [
        (answer, body, newest)
        for answer, newest, said in CASES
        for body in (*said, newest)
        if normal(answer, body) != newest
    ]
    assert wrong == []


def test_what_is_not_known_stays_as_it_came() -> None:
    assert normal("SecurityAuditLogs", {"logs": None}) == {"logs": None}
    assert normal("UserEntity", ["odd"]) == ["odd"]
    assert normal("SessionsCount", {"localSessions": "many", "new": "1"}) == {"localSessions": "many", "new": "1"}
    odd = {"roomName": "r", "creationDate": "yesterday", "maxUsers": "9" * 30, "persistent": "maybe"}
    found = normal("MUCRoomEntity", odd)
    assert isinstance(found, dict)
    assert {name: found[name] for name in odd} == odd


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["user", "users", "properties", "property", "@key", "ressource", "x"]), inner)
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted({answer for answer, _, _ in CASES})), JSON)
def test_whatever_comes_is_brought_into_one_form_that_stays(answer: str, body: Any) -> None:
    once = normal(answer, body)
    assert normal(answer, normal(answer, once)) == normal(answer, once)
