"""The headers of each request to the Chat API: its login, and the types of answer that it accepts.

Always holds: the login is sent from the beginning, since a 401 does not ask for it (measured); the secret has no scheme
before it: with `Bearer` it is refused (measured on the REST API plugin). The first type of `Accept` is JSON: the server
writes an error in it, and if it cannot, the error becomes a 500 without a word (measured there, the same code was
read).
"""

from typing import Final

from restbroker.config.target import Basic, Target
from restbroker.servers.api.login import Headers, authorization
from restbroker.servers.openfire.chat.options import Options

_JSON: Final = "application/json"


def accept_header(kind: str) -> tuple[str, str]:
    """Return the `Accept` header: errors as JSON, and answers of this type, which may be the only one of a command."""
    return "Accept", _JSON if kind == _JSON else f"{_JSON}, {kind};q=0.9"


def authorization_header(target: Target) -> Headers:
    """Return the header that logs in; none without a login and secret.

    Raise `ConfigError` if a secret cannot be read.
    """
    match target.credentials, target.options_as(Options).secret:
        case Basic() as login, _:
            return authorization(login)
        case _, secret if secret is not None:
            return (("Authorization", secret.reveal()),)
        case _:
            return ()
