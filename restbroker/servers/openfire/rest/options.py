"""The options that a target of kind `openfire-rest` takes: the plugin's shared secret, and how bodies are written.

The loader makes an instance, which makes `settings.Settings` of itself: those are the finished target's options. Always
holds: no Trio is loaded here.
"""

from typing import ClassVar, Final

import attrs

from restbroker.config.judged import At, Defaults
from restbroker.config.key import key
from restbroker.config.logins import check_name_alone, checked_bearer, tell_plain
from restbroker.config.review import Review
from restbroker.config.target import Basic, Target
from restbroker.servers.openfire.rest.settings import BASE, Form, Settings

_BROADCAST: Final = "broadcast_message"
_BROADCASTS: Final = "announce_*"


@attrs.frozen(kw_only=True)
class Options:
    """What is written under `Options`."""

    USUAL_URL: ClassVar[str] = "http://127.0.0.1:9090"
    USUAL_LOGIN: ClassVar[str] = "admin"

    DEFAULTS: ClassVar = Defaults(concurrency=6, idle_expiry_s=25.0, domain_is_host=False)
    """Openfire closes a connection after 30 s, and its console is served by a few threads."""

    secret: str | None = key(
        "Secret",
        "The plugin's shared secret (plugin.restapi.secret), where that is its authentication. Excludes Auth.",
        secret=True,
    )
    secret_file: str | None = key("SecretFile", "A file that holds the shared secret.", instead_of=("Secret",))
    write: Form = key(
        "Write",
        "How bodies are written: xml, which all versions of the plugin read alike, or json, in the server's dialect.",
        "xml",
    )

    def judged(self, target: Target, at: At, review: Review) -> Target:
        """See `config.judged`."""
        place = at("Options")
        secret = review.secret(f"{place}.Secret", self.secret, self.secret_file)
        checked_bearer(f"{place}.Secret", secret, review)
        match target.credentials:
            case None if secret is None:
                cure = f"Give {at('Auth')} with Basic, an administrator's, or {place}.SecretFile."
                review.note("NoCredentials", f"No login for the server at {target.url} is given.", cure)
            case None:
                tell_plain(target.url, review)
            case Basic(user, _) if secret is None:
                check_name_alone(at("Auth"), user, review)
            case Basic():
                review.refuse(at("Auth"), "and the shared secret exclude one another: the plugin takes one of them.")
            case _:
                review.refuse(at("Auth"), f"must be Basic; the plugin's shared secret belongs into {place}.SecretFile.")
        url = target.url if target.url.path else attrs.evolve(target.url, path=BASE)
        return attrs.evolve(
            target,
            url=url,
            options=Settings(secret, self.write),
            secrets=() if secret is None else (secret,),
            at_most_once=_with_broadcast(target.at_most_once),
        )


def _with_broadcast(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Who holds broadcasts, as the default does, holds Openfire's, which is called otherwise."""
    return (*patterns, _BROADCAST) if _BROADCASTS in patterns and _BROADCAST not in patterns else patterns
