"""The headers of each request to the Chat API: what lets restbroker in, and what it takes for an answer.

Always holds: the login goes along from the beginning, since a 401 asks for nothing (measured); the secret has no scheme
before it: with `Bearer` it is refused (measured on the REST API plugin). The first type of `Accept` is JSON: in it an
error is written, and where that cannot be, it becomes a 500 without a word (measured there, the same code was read).
"""

from typing import Final

from restbroker.config.target import Basic, Target
from restbroker.servers.api.login import Headers, authorization
from restbroker.servers.openfire.chat.options import Options

_JSON: Final = "application/json"


def accepting(kind: str) -> tuple[str, str]:
    """What to take: errors as JSON, and an answer of this type, which may be the only one that a command gives."""
    return "Accept", _JSON if kind == _JSON else f"{_JSON}, {kind};q=0.9"


def authorization_header(target: Target) -> Headers:
    """The header; none where neither is given. Raises `ConfigError` when the secret cannot be read."""
    match target.credentials, target.options_as(Options).secret:
        case Basic() as login, _:
            return authorization(login)
        case _, secret if secret is not None:
            return (("Authorization", secret.reveal()),)
        case _:
            return ()
