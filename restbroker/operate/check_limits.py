"""Checks what bounds the targets, what the tokens allow, and what of it others undo. Called by `check` and its parts.

Always holds: nothing is written; what is intended is a note, what keeps jobs waiting or loses them is more.
"""

import shlex
from collections.abc import Iterator, Mapping

from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.job.command import DANGEROUS
from restbroker.operate import pauses
from restbroker.servers.findings import Finding, ok
from restbroker.store import unadmitted
from restbroker.store.client import Client
from restbroker.store.pauses import Pause, paused_targets
from restbroker.store.sets import size

EXAMPLE_TOKEN = "a-long-random-text"  # noqa: S105  everyone's
_LEAST_TOKEN = 16
RUBY_DEAD_LIMIT = 9_999
"""How many jobs Ruby's Sidekiq leaves in the dead set (`dead_max_jobs` 10,000; versions 5 to 8)."""


def check_tokens(config: Config) -> Iterator[Finding]:
    """Yield a finding for each token that allows dangerous commands, or that can be guessed."""
    for token in config.tokens:
        yield from _weak(token)
        words = [word for word in token.allow if word.startswith(DANGEROUS)]
        if words:
            yield Finding(
                "note",
                "config",
                "DangerousAllowed",
                message=f'Jobs with the token "{token.name}" may run commands that control the server:'
                f" {', '.join(words)}.",
                why="Anyone who can push with it can stop the server, or read and overwrite its files, as far as these"
                " commands allow.",
                hint=f"If this is not intended, remove them from Tokens.{token.name}.Allow.",
            )


def _weak(token: Token) -> Iterator[Finding]:
    name = "Token" if token.flat else f"Tokens.{token.name}"
    texts = [text for secret in token.secrets for text in secret.texts()]
    if EXAMPLE_TOKEN in texts:
        message = f"The secret of {name} is README's example, which everyone knows."
    elif any(len(text) < _LEAST_TOKEN for text in texts):
        message = f"The secret of {name} has fewer than {_LEAST_TOKEN} characters, so it can be guessed."
    else:
        return
    why = "Anyone who has the token and can write to Redis can have the server run what it allows."
    hint = "Make one, for the brokers and the producers: restbroker token new"
    yield Finding("warning", "config", "WeakToken", message=message, why=why, hint=hint)


def check_limits(target: Target) -> Iterator[Finding]:
    """Yield the limits of a target, and a finding if one of them makes another pointless."""
    told = []
    if target.rate is not None:
        told.append(
            f"{target.rate.per_s:g} jobs per second are started (up to {target.rate.burst} at once after a pause)"
        )
    if target.max_in_flight is not None:
        told.append(f"{target.max_in_flight} jobs are in progress")
    if told:
        yield ok(target.name, "Limits", f"At most {' and '.join(told)}, over all processes.")
    if target.max_in_flight is not None and target.max_in_flight < target.concurrency:
        message = f"MaxInFlight ({target.max_in_flight}) is lower than Concurrency ({target.concurrency})."
        why = "Even one process cannot send that many requests at once."
        yield Finding(
            "note",
            target.name,
            "NeverReached",
            message=message,
            why=why,
            hint="Lower Concurrency, or raise MaxInFlight.",
        )


def check_pauses(client: Client, config: Config) -> Iterator[Finding]:
    """Yield a finding for each pause of a target, by a person or the server.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    found = paused_targets(client, [target.name for target in config.targets])
    for target in config.targets:
        yield from (_pause(target.name, pause) for pause in found.get(target.name, ()))


def _pause(name: str, pause: Pause) -> Finding:
    reason = pause.reason
    message = pauses.of_target(name, pause)
    hint = None if reason == "denied" else f"restbroker targets resume {shlex.quote(name)}"
    return Finding(
        "warning", "redis", "TargetPaused", message=message, why=_PAUSES.get(reason, "Its jobs wait."), hint=hint
    )


def check_dead(client: Client, config: Config, *, ruby: bool) -> Iterator[Finding]:
    """Yield findings on whether anything can remove dead jobs from the dead set.

    `ruby`: a Sidekiq process uses this database; it trims the set. Raise `StoreUnavailable` or `StoreRefused`.
    """
    dead, limit = size(client, "dead") - unadmitted.total(client), config.dead_limit
    if limit and dead >= limit:
        yield Finding(
            "problem",
            "redis",
            "DeadSetFull",
            message=f"{dead} jobs that a token admitted are in the dead set, and DeadLimit is {limit}.",
            why="restbroker takes no jobs, so that no one overlooks the failed ones.",
            hint="Check them (restbroker dead), retry or delete them, or raise DeadLimit.",
        )
    if ruby and (limit == 0 or limit > RUBY_DEAD_LIMIT):
        yield Finding(
            "warning",
            "redis",
            "DeadTrimmed",
            message=f"Sidekiq trims the dead set to {RUBY_DEAD_LIMIT} jobs, and DeadLimit is {limit or 'off'}.",
            why=f"Beyond that, the oldest dead jobs vanish. Copies stay in {client.keys.dead_copies} for a while"
            " (restbroker find TEXT searches them; restbroker dead restore JID puts one back).",
            hint=f'Set "DeadLimit": {RUBY_DEAD_LIMIT // 1000 * 1000}: restbroker then stops before Sidekiq trims. '
            "Or give restbroker a database of its own.",
        )


_PAUSES: Mapping[str, str] = {
    "operator": "Someone paused it: its jobs wait.",
    "denied": "The server refused restbroker's own login: its jobs wait.",
    "retry_after": "The server asked for it (Retry-After): its jobs wait.",
}
