"""What the servers' own configuration should say, so that it allows what the tokens allow and no more.

Called by `restbroker check --suggest`. Always holds: no request goes to a server, nothing is changed, and no text has a
secret.
"""

from collections.abc import Collection

from restbroker.config.core import Config
from restbroker.events import registry as sources
from restbroker.job.auth import reaches
from restbroker.light import frozen
from restbroker.operate.enqueue import server_version_of
from restbroker.operate.names import require
from restbroker.servers import registry
from restbroker.servers.allowed_commands import allowed_commands


@frozen
class Suggestion:
    """A suggestion for one target, or for one source of events, whose name `target` is then.

    `text`: lines for a file of its server, or settings to make there; None: targets of this kind need nothing.
    """

    target: str
    kind: str
    text: str | None


def suggestions(config: Config, targets: Collection[str] = ()) -> list[Suggestion]:
    """Return one suggestion per target, and per source that needs one; `targets` limits them to these and theirs.

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
    of_events = () if config.events is None else config.events.sources
    fitting = [source for source in of_events if not targets or source.target_name in targets]
    texts = [(source, sources.suggest(source, of_events)) for source in fitting]
    return found + [Suggestion(source.name, source.kind, text) for source, text in texts if text is not None]
