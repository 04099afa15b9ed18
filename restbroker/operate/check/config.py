"""Checks the configuration itself: its notices, who may read its secrets, what tokens allow and limits bound.

Always holds: nothing is asked but files; what is intended is a note, what keeps jobs waiting or loses them is more.
"""

import fnmatch
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from restbroker.config.core import Config, LoadedConfig, all_keys
from restbroker.config.load import collect
from restbroker.config.mask import mask
from restbroker.config.roster import QueryKey
from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target
from restbroker.config.tokens import Token
from restbroker.events import registry as sources
from restbroker.job.command import DANGEROUS
from restbroker.operate.unit import unit_with
from restbroker.servers import registry
from restbroker.servers.findings import Finding, Texts, ok

if TYPE_CHECKING:  # many configurations have none
    from restbroker.config.periodic import PeriodicCommand

AREA: Final = "config"
TEXTS: Final = Texts.beside(__file__)
"""The texts of all checks of this folder."""
EXAMPLE_TOKEN = "a-long-random-text"  # noqa: S105  everyone's
_LEAST_TOKEN: Final = 16
_WARNINGS: Final = frozenset(
    {
        *("ShortShutdown", "PlainLogin", "PlainRosters", "NoRosterTarget", "FairByUnknown", "OrderByUnknown"),
        *("WeakStatsPass", "TokenFitsNowhere"),
    }
)


def check_config(loaded: LoadedConfig) -> Iterator[Finding]:
    """Yield the configuration's notices, and whether others may read its secrets."""
    place = "the environment" if loaded.path is None else str(loaded.path)
    yield ok(AREA, "Loaded", f"The configuration is read from {place}.")
    for note in loaded.notes:
        yield Finding("warning" if note.code in _WARNINGS else "note", AREA, note.code, note.message, hint=note.hint)
    yield from check_tokens(loaded.config)
    for command in loaded.config.periodic:
        yield _periodic(command)
    for path in sorted(_secret_files(loaded.config)):
        yield from _open_to_all(path, f"The secret in {path}")
    if loaded.path is not None:
        holds = _holds_secrets(loaded.path)
        subject = f"{loaded.path} holds secrets, and it" if holds else str(loaded.path)
        yield from _open_to_all(loaded.path, subject, may_be_read=not holds)
        yield from _closed_to_unit(loaded.path, loaded.config)


def check_tokens(config: Config) -> Iterator[Finding]:
    """Yield a finding for each token that allows dangerous commands, or that can be guessed."""
    for token in config.tokens:
        yield from _weak(token)
        if words := [word for word in token.allow if word.startswith(DANGEROUS)]:
            yield TEXTS.finding(AREA, "DangerousAllowed", token=token.name, words=", ".join(words))


def _weak(token: Token) -> Iterator[Finding]:
    texts = [text for secret in token.secrets for text in secret.texts()]
    if EXAMPLE_TOKEN in texts:
        fault = "is README's example, which everyone knows"
    elif any(len(text) < _LEAST_TOKEN for text in texts):
        fault = f"has fewer than {_LEAST_TOKEN} characters, so it can be guessed"
    else:
        return
    yield TEXTS.finding(AREA, "WeakToken", token="Token" if token.flat else f"Tokens.{token.name}", fault=fault)


def _periodic(command: "PeriodicCommand") -> Finding:
    """Return when a periodic command is due next, and what its expression means: it may mean more than was meant."""
    from restbroker.operate.periodic import next_times

    times = ", ".join(next_times(command, time.time(), 3))
    text = f"{command.name} ({command.command}), {command.cron} in {command.zone}: {command.schedule.explanation}."
    return ok(AREA, "Periodic", f"{text} Next: {times}.")


def _open_to_all(path: Path, subject: str, *, may_be_read: bool = False) -> Iterator[Finding]:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return  # read a moment ago; if it is gone now, the target or Redis says so
    if mode & stat.S_IROTH and not may_be_read:
        yield TEXTS.finding(AREA, "WorldReadable", subject=subject, mode=mode, path=path)
    if mode & stat.S_IWOTH:
        yield TEXTS.finding(AREA, "WorldWritable", subject=subject, mode=mode, path=path)


def _closed_to_unit(path: Path, config: Config) -> Iterator[Finding]:
    """Yield what root reads here, and the service could not; what this shell's variables name is not the service's."""
    unit = unit_with(path) if os.geteuid() == 0 else None
    named_here = set(os.environ.values())
    files = [path, *sorted(file for file in _secret_files(config) if str(file) not in named_here)]
    if unit is not None:
        for file in unit.cannot_read(files):
            yield TEXTS.finding(AREA, "UnitCannotRead", user=unit.user, path=file)


def _secret_files(config: Config) -> set[Path]:
    secrets: list[Secret | None] = [
        config.redis_password,
        config.redis_sentinel_password,
        config.metrics_token,
        None if config.stats_login is None else config.stats_login.password,
        *(secret for token in config.tokens for secret in token.secrets),
    ]
    match None if config.roster is None else config.roster.auth:
        case Basic(_, secret) | QueryKey(secret):
            secrets.append(secret)
        case None:
            pass
    secrets += [secret for target in config.targets for secret in target.all_secrets]
    if config.events is not None:
        secrets += [secret for source in config.events.sources for secret in (source.secret, *source.secrets)]
    keys = {target.tls.key or target.tls.cert for target in config.targets}
    if config.events is not None and config.events.tls is not None:
        keys.add(config.events.tls.key or config.events.tls.cert)
    return {path for path in (*keys, *(secret.path for secret in secrets if secret is not None)) if path is not None}


def _holds_secrets(path: Path) -> bool:
    """Tell whether the file itself holds a secret, and not only the environment."""
    given, kinds, of_sources = collect(path, {}, {}).values, registry.kinds(), sources.kinds()
    keys = [key for key in all_keys().values() if key.name in given]
    return any(mask(key, given[key.name], kinds, of_sources) != given[key.name] for key in keys)


def check_limits(target: Target) -> Iterator[Finding]:
    """Yield the limits of a target, and a finding if one of them makes another pointless."""
    limits = []
    if (rate := target.rate) is not None:
        limits.append(f"{rate.per_s:g} jobs per second are started (up to {rate.burst} at once after a pause)")
    if (most := target.max_in_flight) is not None:
        limits.append(f"{most} jobs are in progress")
    if limits:
        yield ok(target.name, "Limits", f"At most {' and '.join(limits)}, over all processes.")
    if most is not None and most < target.concurrency:
        yield TEXTS.finding(target.name, "NeverReached", most=most, concurrency=target.concurrency)


def check_proxy(target: Target) -> Iterator[Finding]:
    """Yield a finding if commands of `AtMostOnce` die of what the target's proxy answers by itself."""
    if target.proxy is not None and target.url.scheme == "http" and (names := ", ".join(once_patterns(target))):
        yield TEXTS.finding(target.name, "ProxyAnswers", names=names)


def once_patterns(target: Target) -> Iterator[str]:
    """Yield the patterns of `AtMostOnce` that a command may fit."""
    catalogue = registry.catalogue_of(target, None)
    for pattern in target.at_most_once:
        if not catalogue.is_whole or fnmatch.filter(catalogue.commands, pattern):
            yield pattern
