"""`restbroker explain-error`: what a code means, and what to do. Always holds: it works offline, without a file."""

from difflib import get_close_matches
from typing import Annotated

import typer

from restbroker.console import codes, output
from restbroker.console.panels import JsonOption
from restbroker.errors import UsageError

app = typer.Typer(add_completion=False)


@app.command()
def explain_error(
    code: Annotated[
        str | None,
        typer.Argument(metavar="[CODE]", help="The code, e.g. TargetUnreachable.", autocompletion=codes.beginning),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Explain a code and what to do; without one, list all.

    Knows the codes of failed jobs, of targets that are down, of the log's warnings and other lines, of the findings of
    `restbroker check`, and exit codes. In a pipe each line of the list is: code, of what, meaning.
    """
    if code is None:
        shown = list(codes.every())
    elif not (shown := codes.explanations_of(code)):
        raise _unknown_code(code)
    if json:
        output.as_json(shown)
    elif code is None:
        output.table(("CODE", "OF", "MEANING"), [(row["code"], row["what"], row["meaning"]) for row in shown])
    else:
        output.data("\n\n".join(map(_text, shown)))


def _text(row: codes.Explanation) -> str:
    return "\n  ".join((f"{row['code']}: {row['what']}", row["meaning"], f"What to do: {row['hint']}"))


def _unknown_code(code: str) -> UsageError:
    by_word = {name.casefold(): name for name in codes.names()}
    near = get_close_matches(code.casefold(), by_word, n=3)
    hint = "`restbroker explain-error` lists them all."
    if near:
        hint = f"Did you mean {' or '.join(by_word[name] for name in near)}? {hint}"
    return UsageError(f"There is no code {code[:60]!r}.", hint)
