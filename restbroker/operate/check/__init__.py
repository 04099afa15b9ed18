"""Checks everything that must be right for jobs to arrive: configuration, Redis, what is served, each target.

Called by `restbroker check`. Always holds: each part is checked even if others fail; nothing is changed anywhere; no
finding holds a secret. The texts of the findings are in `findings.toml`.
"""

from collections.abc import Collection, Sequence
from typing import Final

import attrs
import trio

from restbroker.config.core import LoadedConfig
from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.operate.check.config import TEXTS, check_config, check_limits, check_proxy
from restbroker.operate.check.events import check_readers
from restbroker.operate.check.redis import check_store
from restbroker.operate.check.services import check_services
from restbroker.operate.names import require
from restbroker.servers import registry
from restbroker.servers.findings import Finding

_NO_ANSWER: Final = frozenset({"Unreachable", "TlsFailed", "Silent"})
"""Codes of a target that cannot be reached; what has another one answers, and does not work."""


def check(loaded: LoadedConfig) -> list[Finding]:
    """Return all findings. It takes some seconds if a server is down."""
    of_targets = trio.run(_check_targets, loaded.config.targets)
    versions = {finding.area: finding.version for finding in of_targets if finding.version is not None}
    return [
        *check_config(loaded),
        *check_store(loaded.config, versions),
        *check_services(loaded.config),
        *check_readers(loaded.config),
        *of_targets,
    ]


def check_targets(loaded: LoadedConfig, names: Collection[str]) -> list[Finding]:
    """Return the findings of these targets alone, without asking Redis. Raise `UsageError` for an unknown one.

    The cause `target` is left to those that cannot be reached.
    """
    targets = loaded.config.targets
    for name in names:
        require("target", name, [target.name for target in targets])
    found = trio.run(_check_targets, [target for target in targets if target.name in names])
    works_not = [result.cause == "target" and result.code not in _NO_ANSWER for result in found]
    return [attrs.evolve(result, cause="other") if no else result for result, no in zip(found, works_not, strict=True)]


def config_finding(error: ConfigError) -> Finding:
    """Return the finding that ends the check: without a configuration there is nothing to check."""
    return TEXTS.finding("config", "Unusable", message=error.message, hint=error.hint)


async def _check_targets(targets: Sequence[Target]) -> list[Finding]:
    """Return the findings of all targets, in the order of the configuration.

    The targets are checked at the same time: each that is down takes seconds.
    """
    found: dict[str, list[Finding]] = {target.name: [] for target in targets}

    async def test_target(target: Target) -> None:
        try:
            seen = [*check_limits(target), *check_proxy(target), *await registry.check(target)]
        except ConfigError as error:
            seen = [TEXTS.finding(target.name, "Unusable-target", message=error.message, hint=error.hint)]
        except Exception as error:  # noqa: BLE001 - a bug of one kind must not keep the others from being looked at
            bug = registry.bug(target.kind, "The check", error)
            seen = [TEXTS.finding(target.name, "Bug", message=bug.message, hint=bug.hint)]
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
