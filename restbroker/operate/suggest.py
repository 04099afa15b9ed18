"""What the servers' own configuration should say, so that it allows what the tokens allow and no more.

Called by `restbroker check --suggest`. Always holds: no request goes to a server, nothing is changed, and no text has a
secret.
"""

from collections.abc import Collection

import attrs

from restbroker.config.core import Config
from restbroker.job.auth import reaches
from restbroker.operate.enqueue import server_version_of
from restbroker.operate.names import require
from restbroker.servers import registry
from restbroker.servers.allowed_commands import allowed_commands


@attrs.frozen
class Suggestion:
    """A suggestion for one target. `text`: lines for a file of its server, or settings to make there.

    `text` None: targets of this kind need nothing.
    """

    target: str
    kind: str
    text: str | None


def suggestions(config: Config, targets: Collection[str] = ()) -> list[Suggestion]:
    """Return one suggestion per target; `targets` limits them to these.

    The commands are those of the server's version that a running process found. Raise `UsageError` for a target that is
    not configured.
    """
    known = [target.name for target in config.targets]
    for name in targets:
        require("target", name, known)
    found = []
    for target in config.targets:
        if not targets or target.name in targets:
            catalogue = registry.catalogue_of(target, server_version_of(config, target))
            tokens = [token for token in config.tokens if reaches(token, target.name, target.queues)]
            text = registry.suggest(target, allowed_commands(tokens, catalogue))
            found.append(Suggestion(target.name, target.kind, text))
    return found
