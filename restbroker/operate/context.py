"""Facts from the configuration about a job in Redis: the target that serves it, its command, and its secrets.

Made once by any code that shows jobs or acts on them, for `find`, `act` and `explain`. Always holds: a command that is
unknown is not safe to repeat.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.job import arguments, claims, signing
from restbroker.job.claims import JobClaims
from restbroker.job.command import CommandSpec, repeat_safe
from restbroker.job.fairness import cost_of
from restbroker.job.hiding import Spellings, spellings_of
from restbroker.job.json_types import Json
from restbroker.job.names import BODY_NAMES
from restbroker.light import define, field
from restbroker.servers import registry
from restbroker.store.key_queues import Cost, equal_cost

# Producers can invent commands.
_LIMIT: Final = 1000


@define
class ConfigContext:
    """The configuration's view of jobs. `secrets`: all secrets of the configuration, in all spellings.

    `targets`: {queue: the target that serves it}. `show_bodies`: whether message texts are shown. Two contexts are
    equal if their views are, whatever they have cached.
    """

    targets: Mapping[str, Target]
    secrets: Spellings = field(default=frozenset(), repr=False)
    show_bodies: bool = False
    tokens: Mapping[str, str] = field(factory=dict, repr=False)
    """The name of the token of each secret."""
    has_answers: bool = True
    """Whether there is a `ResponseQueue`."""
    kept: tuple[str, ...] = ()
    """The arguments that the History keeps of finished jobs."""
    _specs: dict[tuple[str, str], CommandSpec | None] = field(factory=dict, repr=False, eq=False)

    @property
    def hidden(self) -> tuple[str, ...]:
        """The arguments that are never shown, and never searched."""
        return () if self.show_bodies else tuple(sorted(BODY_NAMES))

    def target(self, queue: str | None) -> str | None:
        """Return the name of the target that serves this queue; None if no target of the configuration does."""
        found = self.targets.get(queue or "")
        return None if found is None else found.name

    def spec(self, queue: str | None, endpoint: str | None) -> CommandSpec | None:
        """Return a command's entry in the catalogue of this queue's target; None if it has none."""
        target = self.targets.get(queue or "")
        if target is None or endpoint is None:
            return None
        place = (target.name, endpoint)
        if place not in self._specs:
            if len(self._specs) >= _LIMIT:
                self._specs.clear()
            self._specs[place] = _spec(target, endpoint)
        return self._specs[place]

    def repeats(self, queue: str | None, endpoint: str | None) -> bool:
        """Tell whether a command is safe to repeat after it may have run."""
        target = self.targets.get(queue or "")
        if target is None or endpoint is None:
            return False
        spec = self.spec(queue, endpoint)
        name = endpoint.partition("/")[0] if spec is None else spec.name
        at_most_once = any(fnmatchcase(name, glob) for glob in target.at_most_once)
        return not at_most_once and repeat_safe(spec)

    def claims(self, queue: str | None, fields: Mapping[str, Json]) -> JobClaims | None:
        """Return what a job of this queue may claim or hold; None: nothing, as far as the configuration can tell."""
        jid, key = fields.get("jid"), fields.get(claims.KEY_FIELD)
        if not isinstance(jid, str) or not (key is not None or claims.LOCK_FIELD in fields):
            return None
        target, token, once = self.targets.get(queue or ""), _token_of(fields, self.tokens), None
        if target is not None and token is not None and isinstance(key, str) and claims.is_key(key):
            once = claims.once_name(target.name, token, key)
        return JobClaims(jid, once, 0.0 if target is None else target.idempotency_s, claims.lock_of(fields))

    def cost(self, queue: str) -> Cost:
        """Return the function that tells what a job of a key costs in the lines of this queue."""
        target = self.targets.get(queue)
        fairness = None if target is None else target.fairness
        return equal_cost if fairness is None else lambda name: cost_of(fairness.weight(name))

    def expire_s(self, queue: str | None, endpoint: str | None) -> float | None:
        """Return how many seconds after its creation a job for this command expires; None: never."""
        target = self.targets.get(queue or "")
        if target is None or endpoint is None or not target.expire_s:
            return None
        spec = self.spec(queue, endpoint)
        return target.expire_of_s(endpoint.partition("/")[0] if spec is None else spec.name)


def _token_of(fields: Mapping[str, Json], tokens: Mapping[str, str]) -> str | None:
    """Return the name of the token that a job carries, or is signed with; None for none that is known."""
    submission = arguments.read(fields.get("args"))
    if not isinstance(submission, arguments.Submission):
        return None
    given = submission.token
    signature = signing.read(given)
    if signature is not None:
        return signature.token
    return tokens.get(given) if isinstance(given, str) else None


def context_of(config: Config) -> ConfigContext:
    """Return the configuration's view of jobs. Raise `ConfigError` if a secret's file cannot be read."""
    targets = {queue: target for target in config.targets for queue in target.queues}
    secrets = {secret.reveal(): token.name for token in config.tokens for secret in token.secrets}
    spellings, has_answers = spellings_of(secrets.keys()), config.response_queue is not None
    return ConfigContext(targets, spellings, config.show_bodies, secrets, has_answers, config.history_arguments)


def _spec(target: Target, endpoint: str) -> CommandSpec | None:
    catalogue = registry.catalogue_of(target, None, endpoint)
    # Behind a command's name ejabberd's endpoints may have a version; where all commands are known, names are whole.
    name = endpoint if catalogue.is_whole and not catalogue.is_dotted else catalogue.name_in(endpoint)
    return catalogue.commands.get(name)
