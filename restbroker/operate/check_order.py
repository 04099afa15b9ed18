"""Finds keys that a death stopped: the jobs behind them wait until a person does something about it.

Called by `operate.check_store`. Always holds: nothing is written, and of very many keys only the first are looked at.
"""

from collections.abc import Iterator
from typing import Final

from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.operate.context import ConfigContext, context_of
from restbroker.operate.keys import display_name
from restbroker.servers.findings import Finding
from restbroker.store.client import Client
from restbroker.store.order import StoppedKeys, read_stopped
from restbroker.store.server import time_s

AREA = "redis"
_PAGES: Final = 50
_NAMED: Final = 3
_LONGEST: Final = 40


def check_order(client: Client, config: Config) -> Iterator[Finding]:
    """Yield a finding for each target with stopped keys, also for one whose OrderBy was taken away.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    found = read_stopped(client, [target.name for target in config.targets], _PAGES)
    if found:
        now_s, known = time_s(client), context_of(config)
        yield from (_finding(target, stopped, known, now_s) for target, stopped in found.items())


def _finding(target: str, stopped: StoppedKeys, known: ConfigContext, now_s: float) -> Finding:
    names = ", ".join(_brief(display_name(one.name, known)) for one in stopped.keys[:_NAMED])
    more = f" and {len(stopped.keys) - _NAMED:,} more" if len(stopped.keys) > _NAMED else ""
    ago = duration_text(max(0.0, now_s - stopped.since_s))
    since = f"for {ago}" if len(stopped.keys) == 1 else f"the first for {ago}"
    count = stopped.count_text
    verb = "is" if count == "1 key" else "are"
    return Finding(
        "warning",
        AREA,
        "OrderStopped",
        message=f"{count[0].upper()}{count[1:]} of the target {target} {verb} stopped, {since}: {names}{more}.",
        why="A job died (OnDead), and all jobs behind it with the same key wait for a person.",
        hint="`restbroker keys list` shows them. Then `restbroker keys retry KEY` retries the dead job, `skip` "
        "goes on without it, `drop` has those behind it die.",
    )


def _brief(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
