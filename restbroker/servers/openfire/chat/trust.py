"""Asks whether the target's login may log users in without their passwords: only an administrator's may.

Pure, but for reading secrets. The check asks, and the logins do before the first login of that kind. Always holds: the
question changes nothing. It names a path that does not exist, below one that only administrators may use (read): an
administrator's login gets 404, any other 401.

The plugin logs a user in without a name if the login is not an administrator's, and then says 200 to all that the job
sends in the user's name (read).
"""

from typing import Final

from restbroker.config.target import Target
from restbroker.job.outcome import Denied, Reason
from restbroker.servers.openfire.chat.headers import accept_header, authorization_header
from restbroker.transport.message import Request, Response

_PATH: Final = "/restapi/v1/admin/restbroker"
MESSAGE: Final = "The target's login is not an administrator's: users without their own password would have no name."
HINT: Final = "Set Auth to an administrator's login, or give each user's password in Options.PasswordsFile."


def trust_question(target: Target) -> Request:
    """Return the request that asks. Raise `ConfigError` if the login cannot be read."""
    headers = (accept_header("application/json"), *authorization_header(target))
    return Request(
        "GET",
        target.url.path + _PATH,
        target.timeout_s,
        query=(),
        headers=headers,
        body=b"",
        body_limit_bytes=65_536,
        repeatable=True,
    )


def is_administrator(response: Response) -> bool | None:
    """Return whether the login is an administrator's; None if the answer does not say, as while the server starts."""
    match response.status:
        case 401:
            return False
        case 404:
            return True
        case _:
            return None


def no_administrator() -> Denied:
    """Return the outcome of a job whose user would act without a name.

    It is `Denied`, so that the probe tells whether the login is refused altogether.
    """
    return Denied(Reason("NotAdministrator", MESSAGE, HINT, 401))
