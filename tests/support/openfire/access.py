"""Who may ask the stand-in: the REST plugin takes Basic of an administrator or its secret, the Chat API takes both.

Used by the stand-in's server. Always holds: nobody is told why not.
"""

import base64
import binascii

from tests.support.openfire.calls import Caller, broken
from tests.support.openfire.world import World


def of_rest(world: World, given: str, secret: str | None) -> Caller | None:
    """The two ways exclude each other: with a `secret` it is the only one."""
    if secret is not None:
        return Caller(None, is_admin=True) if given == secret else None
    return _admin(of_basic(world, given))


def of_chat(world: World, given: str, secret: str, *, is_for_admins: bool) -> Caller | None:
    """The secret, or Basic of any user; only Basic says who it is. Some paths are for administrators alone."""
    caller = Caller(None, is_admin=True) if given == secret else of_basic(world, given)
    return _admin(caller) if is_for_admins else caller


def _admin(caller: Caller | None) -> Caller | None:
    """The same if it is an administrator. Raises Bare: whether a whole JID is one cannot even be asked (measured)."""
    if caller is not None and caller.is_whole_jid:
        raise broken()
    return caller if caller is not None and caller.is_admin else None


def of_stream(world: World, given: str) -> Caller | None:
    """Who asks for an event stream: Jetty itself looks at that, and reads Latin-1 (measured)."""
    return of_basic(world, given, "latin-1")


def of_basic(world: World, given: str, encoding: str = "utf-8") -> Caller | None:
    name, password = _pair(given, encoding)
    account = world.account(name)
    if account is None or account.is_locked or account.password != password:
        return None
    return Caller(account.username, account.username == "admin", is_whole_jid="@" in name)


def _pair(given: str, encoding: str) -> tuple[str, str]:
    scheme, _, coded = given.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, password = base64.b64decode(coded, validate=True).decode(encoding).partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, password
