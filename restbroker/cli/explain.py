"""`restbroker explain`: what became of a job, what a code means and what to do, or what a key of env.json means.

Always holds: codes and keys are explained offline, without a configuration; a code loads none of what a job or a key
needs, and the id of a job none of what a key needs.
"""

import gc
import json as json_text
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from restbroker.console import codes, columns, output
from restbroker.console.options import ConfigOption, JobsOption, JsonOption, SecondsOption, argument
from restbroker.errors import UsageError

app = typer.Typer(add_completion=False)
_ALIKE: Final = 0.82
"""How much a word of letters resembles a code or key that was probably meant; a job's id seldom has only letters."""
_AROUND: Final = " \t\n\"'`:,"
"""What stands around a name where it is copied: in JSON, in a message, on a page."""
ALSO_KEYS: Final = frozenset({"events", "foreignname", "periodic"})
"""The codes that are keys as well. Of others no key is looked for, since that takes several times as long."""


def _beginning(letters: str) -> list[str]:
    """Return the codes and keys that begin with these letters, ignoring case."""
    from restbroker.cli.explain_key import names

    return [name for name in (*codes.names(), *names()) if name.casefold().startswith(letters.casefold())]


@app.command()
def explain(
    word: Annotated[
        str | None,
        argument("[JID|CODE|KEY]", "A job's id, a code such as TimedOut, or a key such as OrderBy.", _beginning),
    ] = None,
    jobs: JobsOption = 200_000,
    seconds: SecondsOption = 10,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show a job's timeline, or explain a code or a key of env.json; without any of them, list all codes.

    Of a job: where it is and why, or how it ended, its last tries, and what people did with it. Searches the sets, jobs
    in progress, the queues, and finished jobs (with History). If the job is nowhere, says where else it may be, and
    exits with 1.

    Knows the codes of failed jobs, of targets that are down, of the log's warnings and other lines, of the findings of
    `restbroker check`, and exit codes. In a pipe each line of the list is: code, of what, meaning.

    Of a key: its meaning, its values, where it may stand, and whether a reload takes a change. KIND.Options, as in
    ejabberd.Options, lists the options of a kind of server or source.
    """
    name = (word or "").strip(_AROUND).removeprefix("RESTBROKER_")
    shown: list[Any] = [*(codes.every() if word is None else codes.explanations_of(name))]
    if word is not None and (not shown or name.casefold() in ALSO_KEYS):
        shown += _keys(name)
    if shown or word is None:
        _print(shown, as_json=json, is_list=word is None or name.casefold().endswith(".options"))
    else:
        gc.disable()  # nothing that is imported is garbage: 30 ms of CPU
        from restbroker.cli.explain_job import explain_job

        gc.freeze()
        gc.enable()
        explain_job(word, config, jobs=jobs, seconds=seconds, as_json=json)


def _print(shown: Sequence[Mapping[str, Any]], *, as_json: bool, is_list: bool) -> None:
    if as_json:
        output.as_json(shown)
    elif is_list:
        found = [(row["code"], row.get("where", row["what"]), row["meaning"]) for row in shown]
        columns.rows(("NAME", "OF", "MEANING"), found)
    else:
        output.data(*"\n\n".join(map(_text, shown)).split("\n"))


def _text(row: Mapping[str, Any]) -> str:
    lines = [f"{row['code']}: {row['what']}", row["meaning"]]
    for name in [name for name in row if name not in ("code", "what", "meaning", "page") and row[name] is not None]:
        label = "What to do" if name == "hint" else name.replace("_", " ").capitalize()
        lines.append(f"{label}: {row[name] if isinstance(row[name], str) else json_text.dumps(row[name])}")
    return "\n  ".join(lines)


def _keys(word: str) -> list[dict[str, Any]]:
    """Return the rows of a key; none if the word is no key, as the id of a job.

    Raise `UsageError` for a word that is nearly a code or key: without a configuration no other answer may come.
    """
    if not word.rpartition(".")[2].partition("[")[0].isalpha():
        return []
    from difflib import get_close_matches

    from restbroker.cli import explain_key

    by_word = {name.casefold(): name for name in (*codes.names(), *explain_key.names())}
    found = explain_key.rows_of(word)
    if not found and (near := get_close_matches(word.casefold(), by_word, n=3, cutoff=_ALIKE)):
        meant = " or ".join(by_word[name] for name in near)
        hint = f"Did you mean {meant}? `restbroker explain` lists codes. Of a job: restbroker find 'jid = {word[:60]}'"
        raise UsageError(f"There is no code or key {word[:60]!r}.", hint)
    return found
