"""The options that a target of kind `ejabberd` takes beyond those of every target."""

from typing import Annotated, ClassVar

from restbroker.config.key import key, whole
from restbroker.config.kind import At, Defaults, note_no_login
from restbroker.config.problems import Problems
from restbroker.config.target import Target
from restbroker.light import frozen


@frozen
class Options:
    """The members of `Options` in the configuration, for a target of this kind.

    `server_version`: whose commands to expect, e.g. "24.12"; "auto" asks the server. `api_version`: the version of the
    interface under which commands are sent; None: the newest that the server has, or the URL's.
    """

    DEFAULTS: ClassVar = Defaults(url="http://127.0.0.1:5281/api", login="admin@example.org", takes_token=True)

    server_version: str = key("ServerVersion", default="auto")
    """The server's version, e.g. 24.12; auto: ask the server."""
    api_version: Annotated[int, whole(0, 9999)] | None = key("ApiVersion")
    """The API version (COMMAND/vN) if a job names none; ejabberd 24.02 or newer."""

    def check(self, target: Target, at: At, problems: Problems) -> Target:
        """Return the target as it is; a missing domain and a missing login become notes in `problems`."""
        if target.default_host is None:
            message = f"{at('Domain')} is missing: each job must name its host."
            problems.note("NoDomain", message, f'Give {at("Domain")} the name of a virtual host, e.g. "example.org".')
        if target.credentials is None:
            hint = f"Give {at('Auth')}, unless the server allows this machine by address."
            note_no_login(target, hint, problems)
        return target
