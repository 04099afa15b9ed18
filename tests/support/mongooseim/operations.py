"""The stand-in's operations that tests look at, refused as MongooseIM refuses; filler.py answers the others."""

import secrets
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from tests.support.mongooseim.scalars import Jid
from tests.support.mongooseim.world import Contact, Domain, Refusal, Sent, World

Operation: TypeAlias = Callable[..., Any]
"""Takes the world and the operation's arguments by name."""


def _known(world: World, user: Jid, code: str) -> None:
    if not world.is_account(user):
        raise Refusal(code, f"User {user.bare} does not exist", {"jid": user.bare})


def register(world: World, domain: str, password: str, username: str | None = None) -> Any:
    jid = Jid(username or f"{secrets.randbits(48)}", domain)
    for is_wrong, why in ((not world.is_served(domain), "not_allowed"), (not password, "null_password")):
        if is_wrong:
            raise Refusal("cannot_register", f"Can't register user {jid} at node mongooseim@localhost: {why}")
    if world.is_account(jid):
        raise Refusal("exists", f"User {jid} already registered at node mongooseim@localhost", {"jid": str(jid)})
    world.accounts[jid.bare] = password
    return {"jid": str(jid), "message": f"User {jid} successfully registered"}


def remove(world: World, user: Jid) -> Any:
    _known(world, user, "not_allowed")
    del world.accounts[user.bare]
    world.rosters.pop(user.bare, None)
    return {"jid": user.bare, "message": f"User {user.bare} successfully unregistered"}


def change_password(world: World, user: Jid, newPassword: str) -> Any:  # noqa: N803 # as the server names it
    _known(world, user, "not_allowed")
    world.accounts[user.bare] = newPassword
    return {"jid": user.bare, "message": "Password changed"}


def ban(world: World, user: Jid, reason: str) -> Any:
    _known(world, user, "user_does_not_exist")
    return {"jid": user.bare, "message": f"User {user.bare} successfully banned with reason: {reason}"}


def check_password(world: World, user: Jid, password: str) -> Any:
    _known(world, user, "user_does_not_exist")
    is_correct = world.accounts[user.bare] == password
    # The server really says the password, whether it is right or wrong.
    word = "is correct" if is_correct else "is incorrect"
    return {"correct": is_correct, "message": f"Password '{password}' for user {user.bare} {word}"}


def check_user(world: World, user: Jid) -> Any:
    exists = world.is_account(user)
    return {"exist": exists, "message": f"User {user.bare} {'exists' if exists else 'does not exist'}"}


def count_users(world: World, domain: str) -> Any:
    if domain not in world.domains:
        raise Refusal("domain_not_found", "Given domain does not exist", {"domain": domain})
    return sum(jid.endswith(f"@{domain}") for jid in world.accounts)


def kick_session(world: World, user: Jid, reason: str | None = None) -> Any:
    del world, reason
    raise Refusal("no_session", f"No active session for {user}", {"jid": str(user)})


def add_domain(world: World, domain: str, hostType: str) -> Any:  # noqa: N803
    if hostType not in {one.host_type for one in world.domains.values()}:
        raise Refusal("unknown_host_type", f"Unknown host type: {hostType}", {"hostType": hostType})
    if domain in world.domains:
        raise Refusal("duplicate", "Domain already exists", {"domain": domain})
    world.domains[domain] = Domain(hostType)
    return {"domain": domain, "hostType": hostType, "status": "ENABLED"}


def remove_domain(world: World, domain: str, hostType: str) -> Any:  # noqa: N803
    if domain not in world.domains:
        raise Refusal("not_found", "Given domain does not exist", {"domain": domain})
    del world.domains[domain]
    return {"domain": domain, "hostType": hostType, "status": "DELETED"}


def status(world: World) -> Any:
    del world
    return {
        "statusCode": "RUNNING",
        "message": "The node mongooseim@localhost is started. Status: started",
        "version": "6.8.0",
        "commitHash": "0123456",
    }


def _sent(world: World, sender: Jid, to: Jid, body: str, kind: str = "chat") -> Any:
    # The server says success for a receiver that does not exist or cannot be reached, and for an empty body.
    if not world.is_account(sender) or not world.is_served(sender.domain):
        raise Refusal("unknown_user", "User does not exist", {"jid": sender.bare})
    world.route(Sent(sender, to, body, kind))
    return {"id": f"{secrets.randbits(64)}-{secrets.randbits(32)}"}


def send_message(world: World, to: Jid, body: str, **more: Any) -> Any:
    return _sent(world, more["from"], to, body)


def send_stanza(world: World, stanza: str | None = None) -> Any:
    element = ET.fromstring(stanza or "<message/>")  # noqa: S314 # what a test sends
    sender, receiver = element.get("from"), element.get("to")
    if not sender:
        raise Refusal("no_sender", "Missing from field")
    text = element.findtext("{*}body") or ""
    return _sent(world, Jid.read(sender), Jid.read(receiver or sender), text, element.get("type", "normal"))


def add_contact(world: World, user: Jid, contact: Jid, name: str = "", groups: Sequence[str] = ()) -> Any:
    for one in (user, contact):
        _known(world, one, "user_not_exist")
    roster = world.rosters.setdefault(user.bare, {})
    before = roster.get(contact.bare, Contact(contact.bare))
    # Whoever is in the roster already gets this name and these groups, none if none were given.
    roster[contact.bare] = attrs.evolve(before, name=name or "", groups=tuple(groups or ()))
    return "Contact added successfully"


def add_contacts(world: World, user: Jid, contacts: Sequence[Mapping[str, Any]]) -> Any:
    def added(one: Mapping[str, Any]) -> Any:
        try:
            return add_contact(world, user, one["jid"], one["name"], one.get("groups") or ())
        except Refusal as refusal:
            # An error at its index and a null in the list.
            return refusal

    return [added(one) for one in contacts]


def delete_contact(world: World, user: Jid, contact: Jid) -> Any:
    _known(world, user, "user_not_exist")
    if world.rosters.get(user.bare, {}).pop(contact.bare, None) is None:
        raise Refusal("contact_not_found", "Contact not found", {"contact": contact.bare})
    return "Contact deleted successfully"


OPERATIONS: Final[Mapping[str, Operation]] = {
    "account.registerUser": register,
    "account.removeUser": remove,
    "account.changeUserPassword": change_password,
    "account.banUser": ban,
    "account.checkPassword": check_password,
    "account.checkUser": check_user,
    "account.countUsers": count_users,
    "session.kickUserSession": kick_session,
    "domain.addDomain": add_domain,
    "domain.removeDomain": remove_domain,
    "server.status": status,
    "stanza.sendMessage": send_message,
    "stanza.sendStanza": send_stanza,
    "roster.addContact": add_contact,
    "roster.addContacts": add_contacts,
    "roster.deleteContact": delete_contact,
}
