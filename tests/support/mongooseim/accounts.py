"""The stand-in's operations on accounts, sessions, domains and the server itself, refused as MongooseIM refuses."""

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from tests.support.mongooseim.scalars import Jid
from tests.support.mongooseim.world import Domain, Refusal, World, page

Operation: TypeAlias = Callable[..., Any]
"""Takes the world and the operation's arguments by name."""


def _served(world: World, domain: str) -> None:
    if domain not in world.domains:
        raise Refusal("domain_not_found", "Given domain does not exist", {"domain": domain})


def known(world: World, user: Jid, code: str = "user_does_not_exist") -> None:
    """Raises Refusal for somebody who has no account."""
    if not world.is_account(user):
        raise Refusal(code, f"User {user.bare} does not exist", {"jid": user.bare})


def register(world: World, domain: str, password: str, username: str | None = None) -> Any:
    jid = Jid(username or f"{secrets.randbits(48)}", domain)
    if not world.is_served(domain):
        raise Refusal("cannot_register", f"Can't register user {jid} at node mongooseim@localhost: not_allowed")
    if not password:
        raise Refusal("cannot_register", f"Can't register user {jid} at node mongooseim@localhost: null_password")
    if world.is_account(jid):
        raise Refusal("exists", f"User {jid} already registered at node mongooseim@localhost", {"jid": str(jid)})
    world.accounts[jid.bare] = password
    world.wrote(lambda: world.accounts.pop(jid.bare, None))
    return {"jid": str(jid), "message": f"User {jid} successfully registered"}


def remove(world: World, user: Jid) -> Any:
    known(world, user, "not_allowed")
    password = world.accounts.pop(user.bare)
    world.wrote(lambda: world.accounts.setdefault(user.bare, password))
    world.rosters.pop(user.bare, None)
    return {"jid": user.bare, "message": f"User {user.bare} successfully unregistered"}


def change_password(world: World, user: Jid, newPassword: str) -> Any:  # noqa: N803 # as the server names it
    known(world, user, "not_allowed")
    if not newPassword:
        raise Refusal("empty_password", "Empty password", {"jid": user.bare})
    world.accounts[user.bare] = newPassword
    return {"jid": user.bare, "message": "Password changed"}


def ban(world: World, user: Jid, reason: str) -> Any:
    known(world, user)
    world.banned[user.bare] = reason
    return {"jid": user.bare, "message": f"User {user.bare} successfully banned with reason: {reason}"}


def check_password(world: World, user: Jid, password: str) -> Any:
    known(world, user)
    is_correct = world.accounts[user.bare] == password
    # The server really says the password, whether it is right or wrong.
    word = "is correct" if is_correct else "is incorrect"
    return {"correct": is_correct, "message": f"Password '{password}' for user {user.bare} {word}"}


def check_user(world: World, user: Jid) -> Any:
    exists = world.is_account(user)
    return {"exist": exists, "message": f"User {user.bare} {'exists' if exists else 'does not exist'}"}


def _of(world: World, domain: str) -> list[str]:
    _served(world, domain)
    return sorted(jid for jid in world.accounts if jid.endswith(f"@{domain}"))


def list_users(world: World, domain: str, limit: int | None = None, index: int | None = None) -> Any:
    return page(_of(world, domain), limit, index)


def count_users(world: World, domain: str) -> Any:
    return len(_of(world, domain))


def kick(world: World, user: Jid, reason: str | None = None) -> Any:
    del reason
    kicked = world.resources(user)
    world.sessions.difference_update(kicked)
    return [{"jid": full, "kicked": True, "code": None, "message": "Session kicked"} for full in kicked]


def kick_session(world: World, user: Jid, reason: str | None = None) -> Any:
    del reason
    if str(user) not in world.sessions:
        raise Refusal("no_session", f"No active session for {user}", {"jid": str(user)})
    world.sessions.discard(str(user))
    return {"jid": str(user), "kicked": True, "code": None, "message": "Session kicked"}


def _sessions(world: World, domain: str | None = None) -> list[str]:
    return sorted(full for full in world.sessions if domain is None or Jid.read(full).domain == domain)


def list_sessions(world: World, domain: str | None = None) -> Any:
    return [{"user": full, "connection": "c2s_tls", "ip": "127.0.0.1"} for full in _sessions(world, domain)]


def list_user_sessions(world: World, user: Jid) -> Any:
    known(world, user)
    return [{"user": full, "connection": "c2s_tls", "ip": "127.0.0.1"} for full in world.resources(user)]


def count_sessions(world: World, domain: str | None = None) -> Any:
    return len(_sessions(world, domain))


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


def _switch(*, to: bool) -> Operation:
    def switch(world: World, domain: str) -> Any:
        if domain not in world.domains:
            raise Refusal("not_found", "Given domain does not exist", {"domain": domain})
        world.domains[domain].enabled = to
        host_type = world.domains[domain].host_type
        return {"domain": domain, "hostType": host_type, "status": "ENABLED" if to else "DISABLED"}

    return switch


def set_domain_password(world: World, domain: str, password: str) -> Any:
    if domain not in world.domains:
        raise Refusal("not_found", "Given domain does not exist or is static", {"domain": domain})
    world.domains[domain].password = password
    return "Domain password set successfully"


def domain_stats(world: World, domain: str) -> Any:
    return {"registeredUsers": len(_of(world, domain)), "onlineUsers": len(_sessions(world, domain))}


def status(world: World) -> Any:
    del world
    return {
        "statusCode": "RUNNING",
        "message": "The node mongooseim@localhost is started. Status: started",
        "version": "6.8.0",
        "commitHash": "0123456",
    }


def request_token(world: World, user: Jid) -> Any:
    known(world, user, "not_found")
    return {"access": f"access-{secrets.token_hex(8)}", "refresh": f"refresh-{secrets.token_hex(8)}"}


OPERATIONS: Final[Mapping[str, Operation]] = {
    "account.registerUser": register,
    "account.removeUser": remove,
    "account.changeUserPassword": change_password,
    "account.banUser": ban,
    "account.checkPassword": check_password,
    "account.checkUser": check_user,
    "account.listUsers": list_users,
    "account.countUsers": count_users,
    "session.kickUser": kick,
    "session.kickUserSession": kick_session,
    "session.listSessions": list_sessions,
    "session.listUserSessions": list_user_sessions,
    "session.countSessions": count_sessions,
    "domain.addDomain": add_domain,
    "domain.removeDomain": remove_domain,
    "domain.enableDomain": _switch(to=True),
    "domain.disableDomain": _switch(to=False),
    "domain.setDomainPassword": set_domain_password,
    "stat.domainStats": domain_stats,
    "server.status": status,
    "token.requestToken": request_token,
}
