"""Checks everything that must be right for jobs to arrive: configuration, Redis, what is served, each target.

Called by `restbroker check`. Always holds: each part is checked even if others fail; nothing is changed anywhere; no
finding holds a secret.
"""

import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from restbroker.config.core import Config, LoadedConfig, all_keys
from restbroker.config.load import collect
from restbroker.config.mask import mask
from restbroker.config.problems import Notice
from restbroker.config.roster import QueryKey
from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target
from restbroker.errors import ConfigError
from restbroker.events import registry as sources
from restbroker.operate.check_limits import check_limits, check_tokens
from restbroker.operate.check_services import check_services
from restbroker.operate.check_store import check_store
from restbroker.servers import registry
from restbroker.servers.findings import Finding, Level, ok

if TYPE_CHECKING:  # many configurations have none
    from restbroker.config.periodic import PeriodicCommand

AREA = "config"
_WARNINGS = frozenset(
    {
        *("ShortShutdown", "PlainLogin", "PlainRosters", "NoRosterTarget", "FairByUnknown", "OrderByUnknown"),
        *("WeakStatsPass", "TokenFitsNowhere"),
    }
)


def check(loaded: LoadedConfig) -> list[Finding]:
    """Return all findings. It takes some seconds if a server is down."""
    return [
        *check_config(loaded),
        *check_store(loaded.config),
        *check_services(loaded.config),
        *trio.run(_check_targets, loaded.config.targets),
    ]


def config_finding(error: ConfigError) -> Finding:
    """Return the finding that ends the check: without a configuration there is nothing to check."""
    return Finding(
        "problem",
        AREA,
        "Unusable",
        message=error.message,
        why="Nothing else can be checked.",
        hint=error.hint,
        cause="config",
    )


async def _check_targets(targets: tuple[Target, ...]) -> list[Finding]:
    """Return the findings of all targets, in the order of the configuration.

    The targets are checked at the same time: each that is down takes seconds.
    """
    found: dict[str, list[Finding]] = {target.name: [] for target in targets}

    async def test_target(target: Target) -> None:
        try:
            seen = [*check_limits(target), *await registry.check(target)]
        except ConfigError as error:
            why = "restbroker cannot send to this target, and does not start."
            seen = [
                Finding(
                    "problem", target.name, "Unusable", message=error.message, why=why, hint=error.hint, cause="config"
                )
            ]
        except Exception as error:  # noqa: BLE001 - a bug of one kind must not keep the others from being looked at
            bug = registry.bug(target.kind, "The check", error)
            seen = [
                Finding(
                    "problem", target.name, bug.code, message=bug.message, why="Its state is unknown.", hint=bug.hint
                )
            ]
        found[target.name] = [_with_keys_of(target, finding) for finding in seen]

    async with trio.open_nursery() as nursery:
        for target in targets:
            nursery.start_soon(test_target, target)
    return [finding for findings in found.values() for finding in findings]


def _with_keys_of(target: Target, finding: Finding) -> Finding:
    """Return the finding with the keys as this target has them."""
    named = target.name_own_keys
    why, hint = (None if text is None else named(text) for text in (finding.why, finding.hint))
    return attrs.evolve(finding, message=named(finding.message), why=why, hint=hint)


def check_config(loaded: LoadedConfig) -> Iterator[Finding]:
    """Yield the configuration's notices, and whether others may read its secrets."""
    place = "the environment" if loaded.path is None else str(loaded.path)
    yield ok(AREA, "Loaded", f"The configuration is read from {place}.")
    yield from (_as_finding(note) for note in loaded.notes)
    yield from check_tokens(loaded.config)
    for command in loaded.config.periodic:
        yield _periodic(command)
    for path in sorted(_secret_files(loaded.config)):
        yield from _open_to_all(path, f"The secret in {path}")
    if loaded.path is not None:
        holds = _holds_secrets(loaded.path)
        subject = f"{loaded.path} holds secrets, and it" if holds else str(loaded.path)
        yield from _open_to_all(loaded.path, subject, may_be_read=not holds)


def _periodic(command: "PeriodicCommand") -> Finding:
    """Return when a periodic command is due next, and what its expression means: it may mean more than was meant."""
    from restbroker.operate.periodic import next_times

    times = ", ".join(next_times(command, time.time(), 3))
    text = f"{command.name} ({command.command}), {command.cron} in {command.zone}: {command.schedule.explanation}."
    return ok(AREA, "Periodic", f"{text} Next: {times}.")


def _as_finding(note: Notice) -> Finding:
    level: Level = "warning" if note.code in _WARNINGS else "note"
    return Finding(level, AREA, note.code, message=note.message, why=None, hint=note.hint)


def _open_to_all(path: Path, subject: str, *, may_be_read: bool = False) -> Iterator[Finding]:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return  # read a moment ago; if it is gone now, the target or Redis says so
    why = "Anyone who does can send commands to the server, or take jobs."
    if mode & stat.S_IROTH and not may_be_read:
        message = f"{subject} can be read by everyone on this machine (mode {mode:04o})."
        yield Finding("warning", AREA, "WorldReadable", message=message, why=why, hint=f"chmod 640 {path}")
    if mode & stat.S_IWOTH:
        message = f"{subject} can be changed by everyone on this machine (mode {mode:04o})."
        yield Finding("warning", AREA, "WorldWritable", message=message, why=why, hint=f"chmod o-w {path}")


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
