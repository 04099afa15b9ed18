"""The options that a target of kind `openfire-rest` takes: the plugin's shared secret.

Always holds: no Trio is loaded here.
"""

from typing import ClassVar, Final

import attrs

from restbroker.config.key import secret
from restbroker.config.kind import At, Defaults, note_no_login, with_broadcasts
from restbroker.config.logins import check_name_alone, note_plain
from restbroker.config.problems import Problems
from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target, check_bearer

BASE: Final = "/plugins/restapi/v1"
"""Where the plugin is on the port of Openfire's console."""
_BROADCAST: Final = "broadcast_message"


@attrs.frozen
class Options:
    """The members of `Options` in the configuration. `secret` takes the place of a login."""

    DEFAULTS: ClassVar = Defaults(
        concurrency=6, idle_expiry_s=25.0, domain_is_host=False, url="http://127.0.0.1:9090", login="admin"
    )
    """Openfire closes a connection after 30 s, and its console is served by a few threads."""

    secret: Secret | None = secret(
        "Secret",
        "The plugin's shared secret (plugin.restapi.secret), instead of Auth.",
        "A file with the shared secret.",
    )

    def check(self, target: Target, at: At, problems: Problems) -> Target:
        """Return the target as it is to be used, with its path and secret; add what is wrong with it to `problems`."""
        place = at("Options")
        secret = problems.try_secret(f"{place}.Secret", self.secret)
        check_bearer(f"{place}.Secret", secret, problems)
        match target.credentials:
            case None if secret is None:
                hint = f"Give {at('Auth')} with Basic, an administrator's, or {place}.SecretFile."
                note_no_login(target, hint, problems)
            case None:
                note_plain(target.url, problems)
            case Basic(user, _) if secret is None:
                check_name_alone(at("Auth"), user, problems)
            case Basic():
                problems.refuse(at("Auth"), "and the shared secret exclude one another: the plugin takes one of them.")
            case _:
                problems.refuse(at("Auth"), f"must be Basic; the plugin's shared secret belongs in {place}.SecretFile.")
        url = target.url if target.url.path else attrs.evolve(target.url, path=BASE)
        return attrs.evolve(
            target,
            url=url,
            options=attrs.evolve(self, secret=secret),
            secrets=() if secret is None else (secret,),
            at_most_once=with_broadcasts(target.at_most_once, _BROADCAST),
        )
