"""The results of `restbroker check`: one `Finding` each.

Made by the parts of the check, shown by `cli.check`. Always holds: a finding about a problem says why it matters and
exactly what to change; no finding holds a secret.
"""

from collections.abc import Iterable
from typing import Literal

import attrs

Level = Literal["ok", "note", "warning", "problem"]
"""How much a finding matters.

`note`: good to know. `warning`: works, but may lose or delay something. `problem`: will not work as configured.
"""

Cause = Literal["config", "store", "refused", "target", "other"]
"""What a problem is about, which decides the exit code; `store` and `target` mean that they cannot be reached."""

CAUSES: tuple[Cause, ...] = ("config", "store", "refused", "target", "other")
"""The causes in the order in which they count when there are several problems."""


@attrs.frozen
class Finding:
    """The result of one check; `area` is config, redis, Roster, Events or a target's name.

    `code` is stable, for machines. A `hint` of several lines consists of lines for a configuration file. `cause`
    matters for problems only.
    """

    level: Level
    area: str
    code: str
    message: str
    why: str | None = None
    hint: str | None = None
    cause: Cause = "other"


def ok(area: str, code: str, message: str) -> Finding:
    """Return a finding without a problem."""
    return Finding("ok", area, code, message)


def worst_cause(findings: Iterable[Finding]) -> Cause | None:
    """Return the cause that decides the exit code; None if there is no problem."""
    causes = {finding.cause for finding in findings if finding.level == "problem"}
    return next((cause for cause in CAUSES if cause in causes), None)
