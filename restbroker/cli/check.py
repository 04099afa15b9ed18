"""`restbroker check`: test the configuration, Redis and the targets, and say what to change."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated

import attrs
import typer

from restbroker.config.core import LoadedConfig
from restbroker.console import completion, output
from restbroker.console.exits import Exit
from restbroker.console.load_config import load_with_notices
from restbroker.console.options import ConfigOption, Output, RecipientOption, TestedTargetsOption, command, option
from restbroker.console.times import duration_s
from restbroker.errors import ConfigError, UsageError
from restbroker.servers.findings import Cause, Finding, worst_cause

app = typer.Typer(add_completion=False)

_EXITS: Mapping[Cause, Exit] = {
    "config": Exit.USAGE,
    "store": Exit.STORE,
    "refused": Exit.REFUSED,
    "target": Exit.TARGET,
    "other": Exit.FAILED,
}
_SCREEN = 20
"""How many findings fill a screen: after more of them, problems are out of sight."""
_STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "bold red"}


@command(app)
def check(
    *,
    suggest: Annotated[
        bool, option("--suggest", "Print what the servers' own configuration files need, and test nothing.")
    ] = False,
    target: TestedTargetsOption = None,
    source: Annotated[str | None, option("SOURCE", "With --events: test only this source.", completion.sources)] = None,
    events: Annotated[
        bool, option("--events", "Send a message through a target, and wait for its event at each source.")
    ] = False,
    sender: Annotated[str, option("--from JID", "With --events: the sender of that message.")] = "",
    receiver: RecipientOption = "",
    tell: Annotated[bool, option("--tell", "Only tell of a test, as `Tell` says, and wait for the answer.")] = False,
    within: Annotated[str, option("DURATION", "With --events: how long to wait for each event.")] = "10s",
    how: Output,
) -> None:
    """Test the configuration, Redis and the targets, and say what to fix. Changes nothing.

    With --target: test only that target, now, without Redis: 0 if it works, 4: it refuses the login, 5: it cannot be
    reached, 1: it does not work.

    With --suggest: print the lines for each server's own configuration (ejabberd.yml and the like) that allow what the
    tokens allow, and no more where the server can be that precise.

    With --events: test only whether events arrive at each source, while `restbroker run` is running. The message and
    its event are real, but the event does not become a job. If no process reads a component, this test reads it for a
    moment.

    With --tell: push a job as `Tell` of the configuration says, while `restbroker run` is running.

    In a pipe each line is: level, area, code, what, why, what to do (line breaks as backslash-n).
    Ends with 0 if nothing is worse than a warning, 2: configuration, 3: Redis unreachable, 4: login or rights refused,
    5: target unreachable, 1: other problems.
    """
    if suggest:
        _suggest(how.config, target or (), as_json=how.json)
        return
    test: Callable[[LoadedConfig], Sequence[Finding]] | None = None
    if events:
        test = partial(_event_findings, between=(sender, receiver), within=within, targets=target or (), source=source)
    elif tell:
        from restbroker.operate.tell import try_tell

        test = try_tell
    elif source or sender or receiver:
        wrong = "--source, --from and --to need --events."
        raise UsageError(wrong, "Leave it out: without these, `check` tests everything.")
    elif target:
        from restbroker.operate.check import check_targets

        test = partial(check_targets, names=target)
    raise typer.Exit(report(how.config, as_json=how.json, test=test))


def report(
    config: ConfigOption, *, as_json: bool, test: Callable[[LoadedConfig], Sequence[Finding]] | None = None
) -> Exit:
    """Print what `test` finds (by default, all tests), and return the exit code; also used by `config init`."""
    found = _findings(config, test)
    cause = worst_cause(found)
    code = Exit.OK if cause is None else _EXITS[cause]
    if as_json:
        output.as_json({"findings": [_fields(finding) for finding in found], "exit_code": int(code)})
    elif sys.stdout.isatty():
        _draw(found)
        problems = [finding for finding in found if finding.level == "problem"]
        if problems and len(found) > _SCREEN:
            output.data("", "The problems once more:")
            _draw(problems)
    else:
        for finding in found:
            output.data("\t".join(_cell(value) for value in _fields(finding).values()))
    counts = Counter(finding.level for finding in found)
    output.say(", ".join(output.counted(counts[level], level) for level in ("problem", "warning", "note")) + ".")
    return code


def _suggest(config: ConfigOption, targets: Sequence[str], *, as_json: bool) -> None:
    from restbroker.operate.suggest import suggestions

    found = suggestions(load_with_notices(config).config, targets)
    if as_json:
        output.as_json([attrs.asdict(suggestion) for suggestion in found])
        return
    # Sources of one listener have one text.
    texts = dict.fromkeys(suggestion.text for suggestion in found if suggestion.text is not None)
    if texts:
        output.data(*"\n\n".join(texts).split("\n"))
    for suggestion in found:
        if suggestion.text is None:
            output.say(f"{suggestion.target} ({suggestion.kind}): there is nothing to suggest.")


def _event_findings(
    loaded: LoadedConfig, *, between: tuple[str, str], within: str, targets: Sequence[str], source: str | None
) -> Sequence[Finding]:
    from restbroker.operate.check.events import EventTest, check_events, check_readers
    from restbroker.operate.check.services import check_services
    from restbroker.operate.names import require
    from restbroker.servers.event_contract import Parties

    for name in targets:
        require("target", name, [target.name for target in loaded.config.targets])
    configured = () if loaded.config.events is None else loaded.config.events.sources
    if source is not None and configured:
        require("source", source, [known.name for known in configured])
    test = EventTest(Parties(*between), targets, duration_s("--within", within), source=source)
    return [
        *check_services(loaded.config),
        *check_readers(loaded.config, test),
        *check_events(loaded.config, test),
    ]


def _findings(config: ConfigOption, test: Callable[[LoadedConfig], Sequence[Finding]] | None) -> Sequence[Finding]:
    from restbroker.operate import check as operate_check

    try:
        return (test or operate_check.check)(load_with_notices(config))
    except ConfigError as error:
        return [operate_check.config_finding(error)]


def _fields(finding: Finding) -> dict[str, str | None]:
    return attrs.asdict(finding, filter=lambda field, _: field.name not in ("cause", "version"))


def _cell(text: str | None) -> str:
    return (text or "").replace("\\", "\\\\").replace("\t", " ").replace("\n", "\\n")


def _draw(found: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    drawn = Table.grid("", "", Column(overflow="fold"), padding=(0, 2, 0, 0))
    for finding in found:
        text = Text(output.printable(finding.message))
        if finding.level != "ok":
            text.append(f"  {finding.code}", style="dim")
        for more, style in ((finding.why, "dim"), (finding.hint, "")):
            if more is not None:
                text.append("\n" + output.printable(more), style=style)
        drawn.add_row(Text(finding.level, style=_STYLES[finding.level]), Text(output.one_line(finding.area)), text)
    Console().print(drawn)
