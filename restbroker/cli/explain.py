"""`restbroker explain`: what became of a job, or what a code means and what to do.

Always holds: a code is explained offline, without a configuration, and loads none of what a job needs.
"""

import gc
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from restbroker.console import codes, columns, output
from restbroker.console.options import ConfigOption, JobsOption, JsonOption, SecondsOption, argument
from restbroker.errors import UsageError

app = typer.Typer(add_completion=False)
_ALIKE: Final = 0.8
"""How much a word of letters resembles a code that was probably meant; a job's id seldom has only letters."""


@app.command()
def explain(
    word: Annotated[
        str | None, argument("[JID|CODE]", "A job's id, or a code such as TargetUnreachable.", codes.beginning)
    ] = None,
    jobs: JobsOption = 200_000,
    seconds: SecondsOption = 10,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show a job's timeline, or explain a code and what to do; without either, list all codes.

    Of a job: where it is and why, or how it ended, its last tries, and what people did with it. Searches the sets, jobs
    in progress, the queues, and finished jobs (with History). If the job is nowhere, says where else it may be, and
    exits with 1.

    Knows the codes of failed jobs, of targets that are down, of the log's warnings and other lines, of the findings of
    `restbroker check`, and exit codes. In a pipe each line of the list is: code, of what, meaning.
    """
    if word is None:
        _print_codes(codes.every(), as_json=json, is_list=True)
    elif shown := codes.explanations_of(word):
        _print_codes(shown, as_json=json, is_list=False)
    else:
        _require_no_typo(word)
        gc.disable()  # nothing that is imported is garbage: 30 ms of CPU
        from restbroker.cli.explain_job import explain_job

        gc.freeze()
        gc.enable()
        explain_job(word, config, jobs=jobs, seconds=seconds, as_json=json)


def _print_codes(shown: Sequence[codes.Explanation], *, as_json: bool, is_list: bool) -> None:
    if as_json:
        output.as_json(shown)
    elif is_list:
        columns.rows(("CODE", "OF", "MEANING"), [(row["code"], row["what"], row["meaning"]) for row in shown])
    else:
        output.data(*"\n\n".join(map(_text, shown)).split("\n"))


def _text(row: codes.Explanation) -> str:
    return "\n  ".join((f"{row['code']}: {row['what']}", row["meaning"], f"What to do: {row['hint']}"))


def _require_no_typo(word: str) -> None:
    """Raise `UsageError` for a word that is nearly a code: without a configuration no other answer may come."""
    if not word.replace(".", "").isalpha():
        return
    from difflib import get_close_matches

    by_word = {name.casefold(): name for name in codes.names()}
    if near := get_close_matches(word.casefold(), by_word, n=3, cutoff=_ALIKE):
        meant = " or ".join(by_word[name] for name in near)
        raise UsageError(
            f"There is no code {word[:60]!r}.",
            f"Did you mean {meant}? `restbroker explain` lists them all. Of a job: restbroker find 'jid = {word[:60]}'",
        )
