"""Asks the server to log a user in or off, and whether their name has a connection or the target's login may do so.

Used by `logins`, which makes sure that only one at a time does, and by the check. Always holds: no user is logged in
without a password if the server says that the target's login is not an administrator's; an id is in no text.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar
from urllib.parse import quote

import trio

from restbroker.config.passwords import passwords_in
from restbroker.config.target import Basic, Target
from restbroker.job.outcome import Denied, Outcome, Reason
from restbroker.light import define
from restbroker.servers.api.request import unsent
from restbroker.servers.openfire.chat.options import Options
from restbroker.servers.openfire.chat.outcomes import LOGGED_IN, NO_PASSWORD, classify_login
from restbroker.servers.openfire.chat.request import authorization_header, question
from restbroker.transport.message import MaybeSent, NotSent, Request, Response

P = ParamSpec("P")
T = TypeVar("T")

_NO_PATH: Final = 404
_UNKNOWN: Final = 400
_LOOKS: Final = 20
_LOOK_S: Final = 0.05
"""The seconds between two of the `_LOOKS` questions whether a connection that is being ended is over."""
_STREAM: Final = re.compile(r"[!-~]{1,200}", re.ASCII)
"""`ofchat` and a number, which may have a minus (read)."""
_TRUST: Final = "/restapi/v1/admin/restbroker"
_CHAT: Final = "/restapi/v1/chat"
MESSAGE: Final = "The target's login is not an administrator's: users without their own password would have no name."
HINT: Final = "Set Auth to an administrator's login, or give each user's password in Options.PasswordsFile."


class NoLogin(Exception):
    """The user could not be logged in: the server refuses it, or cannot do it now.

    `outcome` is that of a job that needs the login.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__("The user could not be logged in.")
        self.outcome = outcome


async def as_unsent(ask: Callable[P, Awaitable[T]], *arguments: P.args, **named: P.kwargs) -> T:
    """Return what `ask` returns, raising `NotSent` in place of `MaybeSent`.

    A login without an answer leaves the command unsent, even after a 400, since that did nothing.
    """
    try:
        return await ask(*arguments, **named)
    except MaybeSent as error:
        raise NotSent(error.message, timed_out=error.timed_out) from error


def trust_question(target: Target) -> Request:
    """Return the question whether the target's login is an administrator's. Raise `ConfigError` if it cannot be read.

    It names a path that does not exist, below one that only administrators may use (read): an administrator's login
    gets 404, any other 401. The plugin logs a user in without a name if the login is not an administrator's, and then
    says 200 to all that a job sends in the user's name (read).
    """
    return question(target, _TRUST)


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


@define(eq=False)
class Sessions:
    """The sessions of one target's users. All methods that ask the server raise `NotSent` and `MaybeSent`."""

    _target: Target
    _send: Callable[[Request], Awaitable[Response]]
    _now_s: Callable[[], float]
    _is_trusted: bool = False
    """Whether the target's login was found to be an administrator's."""

    async def log_in(self, name: str, password: str | None) -> str:
        """Log the user in, and return the id of the stream. Raise `NoLogin` if the server refuses.

        Without a `password` the user's password in the target's file counts; without that one, too, the target's own
        login must be an administrator's.
        """
        request = unsent(lambda: self._login(name, password))
        if not request.body:
            await self._require_administrator()
        response = await self._send(request)
        stream = response.body.decode("ascii", "replace").strip()
        if response.status == 200 and _STREAM.fullmatch(stream):
            return stream
        raise NoLogin(classify_login(response, self._now_s(), [request.body.decode()]))

    async def log_off(self, stream: str) -> Response:
        """Log this stream off, and return the server's answer."""
        return await self._post(stream, "logoff")

    async def end(self, name: str, stream: str) -> None:
        """Log this stream off, or find that it was ended already.

        Raise `NoLogin` if the server does not log it off now.
        """
        response = await self.log_off(stream)
        if not await self.is_over(name, response) and response.status != _UNKNOWN:
            raise NoLogin(self.logoff_failure(response))

    async def is_over(self, name: str, response: Response) -> bool:
        """Tell whether a logoff that was answered like this left no connection.

        If that cannot be asked, a stream that is unknown to the server is over. The plugin forgets a stream first and
        then ends its connection (read): for a moment a second logoff finds it unknown.
        """
        return not await self.is_taken(name) if response.status == _UNKNOWN else 200 <= response.status < 300

    async def is_taken(self, name: str) -> bool:
        """Tell whether the name has a connection and keeps it for a second or so; False if that cannot be asked."""
        for _ in range(_LOOKS):
            if not await self.has_path(name):
                return False
            await trio.sleep(_LOOK_S)
        return True

    def logoff_failure(self, response: Response) -> Outcome:
        """Return the outcome of a job whose logoff was answered like this and left a connection."""
        return LOGGED_IN if response.status == _UNKNOWN else classify_login(response, self._now_s(), ())

    async def has_path(self, name: str) -> bool | None:
        """Tell whether the name has a connection; None if that cannot be asked.

        An administrator may ask whether a name has a path: the server checks that before it checks whose the path is
        (measured).
        """
        if not isinstance(self._target.credentials, Basic):
            return None
        headers = (("Accept", "text/plain"), *authorization_header(self._target))
        path = f"/sse/{quote(name, safe='')}"
        response = await self._send(Request("GET", path, self._target.timeout_s, headers=headers, repeatable=True))
        return response.status != _NO_PATH

    async def present(self, stream: str) -> None:
        """Make the user of this stream available. Raise `NoLogin` if the server does not do that."""
        response = await self._post(stream, "presence")
        if not 200 <= response.status < 300:
            raise NoLogin(classify_login(response, self._now_s(), (stream,)))

    async def _post(self, stream: str, what: str) -> Response:
        return await self._send(question(self._target, f"{_CHAT}/{quote(stream, safe='')}/{what}", "POST"))

    async def _require_administrator(self) -> None:
        """Raise `NoLogin` if the server says that the target's login is not an administrator's.

        Only an administrator's login gives a user's own stream without the user's password. The server is asked until
        it says so once, then no more; an answer that says neither lets the login pass.
        """
        if self._is_trusted:
            return
        found = is_administrator(await as_unsent(self._send, trust_question(self._target)))
        if found is False:
            known = await as_unsent(self._send, question(self._target))
            raise NoLogin(classify_login(known, self._now_s(), ()) if known.status == 401 else no_administrator())
        self._is_trusted = found is True

    def _login(self, name: str, password: str | None) -> Request:
        target = self._target
        passwords = target.options_as(Options).passwords
        if password is None and passwords is not None:
            password = passwords_in(passwords).get(name)
        if password is None and not isinstance(target.credentials, Basic):
            # The secret belongs to no user: with it they would act without a name (read in the plugin's source).
            raise NoLogin(NO_PASSWORD)
        path = f"{_CHAT}/{quote(name, safe='')}/login"
        return question(target, path, "POST", accept="text/plain", body=(password or "").encode())
