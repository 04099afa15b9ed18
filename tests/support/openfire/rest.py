"""The REST API plugin's users, rosters, groups and their lockouts, as measured on 1.2.5 and 1.3.10.

Used by the stand-in's server, and by its Chat API, which carries a copy of the older of the two. Always holds: a
handler changes the world before it answers; its errors are the measured ones.
"""

from typing import Any, Final

from tests.support.openfire import talk
from tests.support.openfire.calls import CREATED, DONE, Answer, Call, Failed, Routes, broken
from tests.support.openfire.forms import Pair, listed
from tests.support.openfire.reading import GROUP, GROUPNAMES, ROSTER_ITEM, USER
from tests.support.openfire.world import Account, Contact, Group, is_jid, is_name

ROUTES: Final = Routes()
CHAT: Final = Routes()
"""What the Chat API has beside them."""


def user_of(call: Call) -> Account:
    """The user that the path names. Raises Failed."""
    account = call.world.account(call["username"])
    if account is None:
        raise Failed(404, "UserNotFoundException", "Could not get user", call["username"])
    return account


@CHAT.add("GET", "/chat/users")
@ROUTES.add("GET", "/users")
def _list_users(call: Call) -> Answer:
    wanted, key, value = call.asks("search"), call.asks("propertyKey"), call.asks("propertyValue")
    found = [
        one
        for one in sorted(call.world.accounts.values(), key=lambda one: one.username)
        if wanted.casefold() in one.username
        and (not key or key in one.properties)
        and (not value or one.properties.get(key) == value)
    ]
    return listed("users", [one.entity() for one in found])


@ROUTES.add("POST", "/users")
def _create_user(call: Call) -> Answer:
    given = call.read(USER)
    name, password = given.get("username"), given.get("password")
    if not name or not password or not is_name(name):
        raise broken()
    if call.world.account(name) is not None:
        raise Failed(409, "UserAlreadyExistsException", "Could not create new user", name)
    account = Account(name.casefold(), password, given.get("name", ""), given.get("email"))
    call.world.accounts[account.username] = account
    _properties(account, given.get("properties"))
    return CREATED


def _properties(account: Account, pairs: list[Pair] | None) -> None:
    """Sets them. A shape that was not understood is noticed when the user is there already."""
    if pairs is None:
        return
    if any(one.key is None for one in pairs):
        raise broken()
    account.properties = {one.key or "": one.value or "" for one in pairs}


@ROUTES.add("GET", "/users/{username}")
def _get_user(call: Call) -> Answer:
    return user_of(call).entity()


@ROUTES.add("PUT", "/users/{username}")
def _update_user(call: Call) -> Answer:
    given = call.read(USER)
    account = user_of(call)
    if given.get("username", account.username) != account.username:
        raise broken()  # it can, and no test has it do so
    account.name = given.get("name", account.name)
    account.email = given.get("email", account.email)
    account.password = given.get("password") or account.password
    _properties(account, given.get("properties"))
    return DONE


@ROUTES.add("DELETE", "/users/{username}")
def _delete_user(call: Call) -> Answer:
    account = user_of(call)
    talk.kick(call.world, account.username)
    del call.world.accounts[account.username]
    call.world.rosters.pop(account.username, None)
    for group in call.world.groups.values():
        group.members = [one for one in group.members if one != account.username]
    return DONE


@ROUTES.add("POST", "/lockouts/{username}")
def _lock_user(call: Call) -> Answer:
    account = user_of(call)
    account.is_locked = True
    talk.kick(call.world, account.username)
    return CREATED


@ROUTES.add("DELETE", "/lockouts/{username}")
def _unlock_user(call: Call) -> Answer:
    user_of(call).is_locked = False
    return DONE


def _roster(call: Call) -> dict[str, Contact]:
    return call.world.rosters.setdefault(call["username"].casefold(), {})


@ROUTES.add("GET", "/users/{username}/roster")
def _get_roster(call: Call) -> Answer:
    return listed("roster", [one.fields() for one in _roster(call).values()])


@ROUTES.add("POST", "/users/{username}/roster")
def _add_roster_item(call: Call) -> Answer:
    add_contact(_roster(call), call.read(ROSTER_ITEM))
    return CREATED


def add_contact(roster: dict[str, Contact], given: dict[str, Any]) -> None:
    """A new item of a roster. Raises Failed or Bare."""
    jid = given.get("jid")
    if jid is None or not is_jid(jid):
        raise broken()
    if jid in roster:
        raise Failed(409, "UserAlreadyExistsException", "Could not create roster item", "")
    roster[jid] = Contact(jid, given.get("nickname"), given.get("subscriptionType", 0), given.get("groups", []))


@ROUTES.add("PUT", "/users/{username}/roster/{jid}")
def _update_roster_item(call: Call) -> Answer:
    given = call.read(ROSTER_ITEM)
    update_contact(_roster(call), call["jid"], given)
    return DONE


def update_contact(roster: dict[str, Contact], jid: str, given: dict[str, Any]) -> None:
    """What an item of a roster says from now on. Raises Failed."""
    contact = roster.get(jid)
    if contact is None:
        raise Failed(404, "UserNotFoundException", "Could not update the roster", jid)
    contact.nickname = given.get("nickname", contact.nickname)
    contact.subscription = given.get("subscriptionType", contact.subscription)
    contact.groups = given.get("groups", contact.groups)


@ROUTES.add("DELETE", "/users/{username}/roster/{jid}")
def _delete_roster_item(call: Call) -> Answer:
    if _roster(call).pop(call["jid"], None) is None:
        raise Failed(404, "RosterItemNotFound", "Roster Item could not deleted", call["jid"])
    return DONE


@ROUTES.add("GET", "/groups")
def _list_groups(call: Call) -> Answer:
    found = sorted(call.world.groups.values(), key=lambda one: one.name)
    return listed("groups", [{"name": one.name, "description": one.description} for one in found])


@ROUTES.add("POST", "/groups")
def _create_group(call: Call) -> Answer:
    given = call.read(GROUP)
    name = given.get("name")
    if not name:
        raise broken()
    people = _people(call, given)
    if name in call.world.groups:
        raise Failed(409, "GroupAlreadyExistsException", "Could not create a group", name)
    group = call.world.groups[name] = Group(name)
    _set(group, given, people)
    return CREATED


def _people(call: Call, given: dict[str, Any]) -> tuple[list[str], list[str]] | None:
    """The admins and the members as they are from now on: the newest fails without both lists, older ones read none."""
    if call.dialect != "1.12":
        return None
    if given.get("admins") is None or given.get("members") is None:
        raise broken()
    own = f"@{call.world.domain}"
    admins, members = ([one.removesuffix(own) for one in given[name]] for name in ("admins", "members"))
    return admins, members


def _set(group: Group, given: dict[str, Any], people: tuple[list[str], list[str]] | None) -> None:
    group.description = given.get("description", "")
    group.shared = given.get("shared", False)
    if people is not None:
        group.admins, group.members = people


def _group(call: Call) -> Group:
    group = call.world.groups.get(call["group"])
    if group is None:
        raise Failed(404, "GroupNotFoundException", "Could not find group", call["group"])
    return group


def _address(call: Call, name: str) -> str:
    return name if "@" in name else f"{name}@{call.world.domain}"


@ROUTES.add("GET", "/groups/{group}")
def _get_group(call: Call) -> Answer:
    group = _group(call)
    return {
        "name": group.name,
        "description": group.description,
        "admins": [_address(call, one) for one in group.admins],
        "members": [_address(call, one) for one in group.members],
        "shared": group.shared if call.dialect == "1.12" else None,
    }


@ROUTES.add("PUT", "/groups/{group}")
def _update_group(call: Call) -> Answer:
    given = call.read(GROUP)
    if given.get("name") != call["group"]:
        raise broken()
    group = _group(call)
    _set(group, given, _people(call, given))
    return DONE


@ROUTES.add("DELETE", "/groups/{group}")
def _delete_group(call: Call) -> Answer:
    del call.world.groups[_group(call).name]
    return DONE


@ROUTES.add("GET", "/users/{username}/groups")
def _list_user_groups(call: Call) -> Answer:
    name = user_of(call).username
    return listed("groupnames", sorted(one.name for one in call.world.groups.values() if name in one.members))


def _change_groups(call: Call, names: list[str], *, adds: bool) -> None:
    name = user_of(call).username
    for one in names:
        group = call.world.groups.setdefault(one, Group(one)) if adds else call.world.groups.get(one)
        if group is None:
            raise Failed(404, "GroupNotFoundException", "Could not find group", one)
        group.members = [member for member in group.members if member != name] + ([name] if adds else [])


@ROUTES.add("POST", "/users/{username}/groups")
def _add_user_to_groups(call: Call) -> Answer:
    _change_groups(call, call.read(GROUPNAMES).get("groupname", []), adds=True)
    return CREATED


@ROUTES.add("DELETE", "/users/{username}/groups")
def _remove_user_from_groups(call: Call) -> Answer:
    _change_groups(call, call.read(GROUPNAMES).get("groupname", []), adds=False)
    return DONE


@ROUTES.add("POST", "/users/{username}/groups/{group}")
def _add_user_to_group(call: Call) -> Answer:
    _change_groups(call, [call["group"]], adds=True)
    return CREATED


@ROUTES.add("DELETE", "/users/{username}/groups/{group}")
def _remove_user_from_group(call: Call) -> Answer:
    _change_groups(call, [call["group"]], adds=False)
    return DONE
