"""The options that a target of kind `openfire-rest` takes: the plugin's shared secret.

Always holds: no Trio is loaded here.
"""

from typing import ClassVar, Final

import attrs

from restbroker.config.key import secret
from restbroker.config.kind import At, Defaults, with_broadcasts
from restbroker.config.problems import Problems
from restbroker.config.secret import Secret
from restbroker.config.target import Target
from restbroker.light import frozen
from restbroker.servers.openfire.access import check_access

BASE: Final = "/plugins/restapi/v1"
"""Where the plugin is on the port of Openfire's console."""
_BROADCAST: Final = "broadcast_message"


@frozen
class Options:
    """The members of `Options` in the configuration. `secret` takes the place of a login."""

    DEFAULTS: ClassVar = Defaults(
        concurrency=6, idle_expiry_s=25.0, domain_is_host=False, url="http://127.0.0.1:9090", login="admin"
    )
    """Openfire closes a connection after 30 s, and its console is served by a few threads."""

    secret: Secret | None = secret("Secret")
    """The plugin's shared secret (plugin.restapi.secret), instead of Auth."""

    def check(self, target: Target, at: At, problems: Problems) -> Target:
        """Return the target as it is to be used, with its path and secret; add what is wrong with it to `problems`."""
        secret = check_access(target, self.secret, at, problems)
        url = target.url if target.url.path else attrs.evolve(target.url, path=BASE)
        return attrs.evolve(
            target,
            url=url,
            options=attrs.evolve(self, secret=secret),
            secrets=() if secret is None else (secret,),
            at_most_once=with_broadcasts(target.at_most_once, _BROADCAST),
        )
