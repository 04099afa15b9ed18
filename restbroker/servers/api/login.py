"""The header that logs a request in. Used by the connectors.

Always holds: what cannot be a header is refused before anything is sent, and its text is not shown.
"""

import base64
from functools import lru_cache
from typing import TypeAlias, assert_never

from restbroker.config.target import Basic, Bearer, Credentials, IssuedLogin
from restbroker.errors import ConfigError

Headers: TypeAlias = tuple[tuple[str, str], ...]


def authorization(login: Credentials) -> Headers:
    """Return the header of this login; raise `ConfigError` if its secret cannot be read or used.

    There is none for None, and for a login by which the server issues tokens: only ejabberd's connector asks for them.
    """
    match login:
        case None | IssuedLogin():
            return ()
        case Basic(user, password):
            return _basic(user, password.reveal())
        case Bearer(token):
            return _bearer(token.reveal())
        case _:
            assert_never(login)


@lru_cache(maxsize=8)
def _basic(user: str, password: str) -> Headers:
    pair = f"{user}:{password}".encode()
    return (("Authorization", "Basic " + base64.b64encode(pair).decode("ascii")),)


@lru_cache(maxsize=8)
def _bearer(text: str) -> Headers:
    if not text or not all("!" <= character <= "~" for character in text):
        raise ConfigError(
            "The bearer token cannot be put into a header: it is empty or has characters beyond visible ASCII.",
            "Put only the token into the setting or its file, without spaces and line breaks.",
        )
    return (("Authorization", f"Bearer {text}"),)
