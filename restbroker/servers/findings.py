"""The results of `restbroker check`: one `Finding` each; and the texts of a check or a reader, which are data.

Made by the parts of the check, shown by `cli.check`; readers warn with the same texts (`reports`). Always holds: a
finding about a problem says why it matters and exactly what to change; no finding holds a secret.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from restbroker.light import define, frozen

if TYPE_CHECKING:  # a check of targets does without the store
    from restbroker.store.sources import SourceState

_MOST: Final = 10
"""The most findings about problems that processes reported."""

Level = Literal["ok", "note", "warning", "problem"]
"""How much a finding matters.

`note`: good to know. `warning`: works, but may lose or delay something. `problem`: will not work as configured.
"""

Cause = Literal["config", "store", "refused", "target", "other"]
"""What a problem is about, which decides the exit code; `store` and `target` mean that they cannot be reached."""

CAUSES: tuple[Cause, ...] = ("config", "store", "refused", "target", "other")
"""The causes in the order in which they count when there are several problems."""


@frozen
class Finding:
    """The result of one check; `area` is config, redis, Roster, Events or a target's name.

    `code` is stable, for machines. A `hint` of several lines consists of lines for a configuration file. `cause`
    matters for problems only. `version`: what the server says of itself, where that was found out.
    """

    level: Level
    area: str
    code: str
    message: str
    why: str | None = None
    hint: str | None = None
    cause: Cause = "other"
    version: str | None = None


@define(eq=False)
class Problem(Exception):
    """Why nothing is read from a source, or for one of its users, and what to do (`hint`); it holds no secret.

    `code`: that of the warning; "" means that nothing is wrong.
    """

    code: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.message} {self.hint}"


@frozen
class Text:
    """What a finding or warning says, with `{names}` in place of what is found.

    A text that is None is given with these.
    """

    level: Level = "problem"
    message: str = "{message}"
    why: str | None = None
    hint: str | None = None
    cause: Cause = "other"


@frozen
class Texts:
    """The texts of a folder, each a table of `findings.toml`: by codes, with `-CASE` behind one that has several."""

    rows: Mapping[str, Text]

    @classmethod
    def beside(cls, module: str) -> "Texts":
        """Return those of the file beside this module, which is given as its `__file__`."""
        file = Path(module).with_name("findings.toml")
        return cls({name: Text(**row) for name, row in tomllib.loads(file.read_text("utf-8")).items()})

    def finding(self, area: str, name: str, /, **values: object) -> Finding:
        """Return the finding with these values in its texts, or as its `why` or `hint` where the file has none."""
        text, code = self.rows[name], name.partition("-")[0]

        def filled(of: Literal["why", "hint"], template: str | None) -> str | None:
            given = values.get(of) if template is None else template.format_map(values)
            return None if given is None else str(given)

        why, hint = filled("why", text.why), filled("hint", text.hint)
        return Finding(text.level, area, code, text.message.format_map(values), why=why, hint=hint, cause=text.cause)

    def problem(self, name: str, /, **values: object) -> Problem:
        """Return the problem with these values in its texts."""
        found = self.finding("", name, **values)
        return Problem(found.code, found.message, found.hint or "")


def moment(at_s: float) -> str:
    """Return this time (epoch seconds) for people."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def ok(area: str, code: str, message: str) -> Finding:
    """Return a finding without a problem."""
    return Finding("ok", area, code, message)


def worst_cause(findings: Iterable[Finding]) -> Cause | None:
    """Return the cause that decides the exit code; None if there is no problem."""
    causes = {finding.cause for finding in findings if finding.level == "problem"}
    return next((cause for cause in CAUSES if cause in causes), None)


def problem_of(source: str, problem: Problem, why: str, causes: Mapping[str, Cause]) -> Finding:
    """Return the finding that the source of this name cannot be read. `causes`: {code: cause}."""
    message, cause = f"Source {source}: {problem.message}", causes.get(problem.code, "other")
    return Finding("problem", "Events", problem.code, message, why, problem.hint, cause)


def findings_of(
    states: "Sequence[SourceState]", known: Sequence[Finding], why: str, causes: Mapping[str, Cause]
) -> Iterator[Finding]:
    """Yield a finding for each process and user of `states` for which nothing is read, except for what is `known`.

    There are ten at most; the last says how many more there would be. `causes`: {code: cause}.
    """
    troubled = [state for state in states if state.code and not any(_is_same(finding, state) for finding in known)]
    for number, state in enumerate(troubled[:_MOST], start=1):
        more = len(troubled) - _MOST if number == _MOST else 0
        others = f" The same applies to {more} more." if more > 0 else ""
        message = f"{state.message} {state.process} says so, since {moment(state.since_s)}.{others}"
        yield problem_of(state.source, Problem(state.code, message, state.hint), why, causes)


def _is_same(finding: Finding, state: "SourceState") -> bool:
    return finding.code == state.code and (not state.user or state.message in finding.message)
