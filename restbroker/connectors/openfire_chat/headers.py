"""The header that lets restbroker in to the Chat API: Basic, or the shared secret as it is. Used with each request.

Always holds: it goes along from the beginning, since a 401 asks for nothing (measured); the secret has no scheme before
it: with `Bearer` it is refused (measured on the REST API plugin).
"""

from restbroker.config.target import Basic, Target
from restbroker.connectors.login import Headers, authorization
from restbroker.connectors.openfire_chat.options import settings_of


def authorized(target: Target) -> Headers:
    """The header; none where neither is given. Raises `ConfigError` when the secret cannot be read."""
    match target.credentials, settings_of(target).secret:
        case Basic() as login, _:
            return authorization(login)
        case _, secret if secret is not None:
            return (("Authorization", secret.reveal()),)
        case _:
            return ()
