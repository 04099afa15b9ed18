"""What follows from the options of a target of kind `openfire-rest`.

Used by the connector and the check. Always holds: no Trio is loaded here.
"""

import re
from typing import Final

from restbroker.config.secret import Secret
from restbroker.config.target import Issued, Target
from restbroker.errors import ConfigError
from restbroker.servers.api.login import Headers, authorization
from restbroker.servers.openfire.rest.options import Options

_VISIBLE: Final = re.compile(r"[!-~]+", re.ASCII)


def login_of(target: Target) -> Headers:
    """The header that logs in. Raises `ConfigError` when its secret cannot be read or used."""
    secret = target.options_as(Options).secret
    if secret is not None:
        # As it is: "Bearer" before it gets 401 (measured).
        return (("Authorization", secret_text(secret)),)
    match target.credentials:
        case Issued():  # refused when the configuration is loaded
            return ()
        case login:
            return authorization(login)


def secret_text(secret: Secret) -> str:
    """The shared secret. Raises `ConfigError`."""
    text = secret.reveal()
    if not _VISIBLE.fullmatch(text):
        raise ConfigError(
            "The shared secret cannot be put into a header: it is empty or has characters beyond visible ASCII.",
            "Put the secret alone into the setting or its file, without spaces and line breaks.",
        )
    return text
