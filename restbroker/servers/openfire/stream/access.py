"""Makes the login of the request that opens a user's stream, in the user's own name. Used by `listener` and `check`.

Always holds: the login is written in Latin-1, as the server's Jetty reads it (measured): UTF-8, which the rest of
Openfire takes, is a wrong password there.
"""

import base64

import trio

from restbroker.config.passwords import passwords_in
from restbroker.config.secret import Secret
from restbroker.errors import ConfigError
from restbroker.servers.openfire.stream.problems import no_password, unwritable


def basic(user: str, password: str) -> str:
    """Return the value of the header `Authorization`. Raise `Problem` if Latin-1 lacks one of the characters."""
    for what, text in ((f"the name {user}", user), (f"the password of {user}", password)):
        try:
            text.encode("latin-1")
        except UnicodeEncodeError:
            # Without the cause, which repeats the text.
            raise unwritable(what) from None
    return "Basic " + base64.b64encode(f"{user}:{password}".encode("latin-1")).decode()


async def headers_of(user: str, passwords: Secret) -> tuple[tuple[str, str], ...]:
    """Return exactly the headers that the server accepts. Raise `Problem` if there is no usable password of the user.

    The server refuses any other type, or a second one (measured).
    """
    try:
        # A slow disk must not hold up others.
        known = await trio.to_thread.run_sync(passwords_in, passwords)
    except ConfigError as error:
        raise no_password(user, error.message) from None
    if user not in known:
        raise no_password(user, "the file has no line for this user.")
    return (("Accept", "text/event-stream"), ("Authorization", basic(user, known[user])))
