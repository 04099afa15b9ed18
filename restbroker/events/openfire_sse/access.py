"""How a user's stream is asked for: in the user's own name. Used by `listener` and `check`.

Always holds: the login is written in Latin-1, as the server's Jetty reads it (measured): UTF-8, which the rest of
Openfire takes, is a wrong password there.
"""

import base64

from restbroker.events.openfire_sse.troubles import unwritable


def basic(user: str, password: str) -> str:
    """The header `Authorization`. Raises `Trouble` where Latin-1 has no such character."""
    for what, text in ((f"the name {user}", user), (f"the password of {user}", password)):
        try:
            text.encode("latin-1")
        except UnicodeEncodeError:
            # Without the cause, which repeats the text.
            raise unwritable(what) from None
    return "Basic " + base64.b64encode(f"{user}:{password}".encode("latin-1")).decode()
