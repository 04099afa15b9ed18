"""Whether the target's login may log users in without their passwords: only an administrator's may. Pure, but for
reading secrets.

The check and the logins ask before the first login of that kind. Always holds: the question changes nothing. It is for
a path that is nothing's, below the one that administrators alone may ask (read): others get 401, they get 404.

Who is none is logged in as somebody without a name, and the plugin says 200 to all that he sends in a user's (read).
"""

from typing import Final

from restbroker.config.target import Target
from restbroker.job.outcome import Denied, Reason
from restbroker.servers.openfire.chat.headers import accepting, authorization_header
from restbroker.transport.message import Request, Response

_PATH: Final = "/restapi/v1/admin/restbroker"
MESSAGE: Final = "The target's login is not an administrator's: users without their own password would have no name."
CURE: Final = "Set Auth to an administrator's login, or give each user's password in Options.PasswordsFile."


def trust_question(target: Target) -> Request:
    """What to send. Raises `ConfigError` when the login cannot be read."""
    headers = (accepting("application/json"), *authorization_header(target))
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
    """What the answer says. None: nothing, as while the server starts."""
    match response.status:
        case 401:
            return False
        case 404:
            return True
        case _:
            return None


def no_administrator() -> Denied:
    """For a job whose user would act without a name; the probe tells whether the login is refused altogether."""
    return Denied(Reason("NotAdministrator", MESSAGE, CURE, 401))
