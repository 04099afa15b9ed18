"""Answers a shell's question at the Tab key, as its script asks it (`cli.shells`).

Called by `__main__` where the environment says so, in place of the command line. Always holds: nothing is written to
stderr and nothing is changed; whatever goes wrong is answered with nothing; only what needs no quotes in a shell is
offered.
"""

import os
import re
import sys
from collections.abc import Iterator
from typing import Final

from typer import _click  # see cli.app
from typer._click import shell_completion

from restbroker.cli import completion
from restbroker.cli.app import command_line
from restbroker.cli.completion import Offer
from restbroker.cli.shells import LINE, WORD

_PLAIN: Final = re.compile(r"[\w.,:@/+%=-]+")
"""What a shell takes as it is; a queue's name with more in it could be run by Enter."""


def answer(shell: str) -> None:
    """Prints the candidates for the line's last word. Ends the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        lines = list(_lines(shell, os.environ.get(LINE, ""), os.environ.get(WORD, "")))
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    except Exception:  # noqa: BLE001, S110 - a person who presses Tab wants no traceback in the line
        pass
    os._exit(0)


def _lines(shell: str, line: str, word: str) -> Iterator[str]:
    args, incomplete = _words(line)
    for offer in _offers(args, incomplete):
        if not offer.text.startswith(incomplete) or not _PLAIN.fullmatch(offer.text):
            continue
        said = " ".join(offer.said.split())
        match shell:
            case "bash":
                yield offer.text[len(incomplete.removesuffix(word)) :]
            case "zsh":
                yield offer.text.replace(":", "\\:") + (f":{said}" if said else "")
            case _:
                yield offer.text + (f"\t{said}" if said else "")


def _words(line: str) -> tuple[list[str], str]:
    """The words behind the program's name, and the one that is being typed."""
    words = shell_completion.split_arg_string(line)[1:]
    is_new = not words or line.endswith((" ", "\t"))
    return (words, "") if is_new else (words[:-1], words[-1])


def _offers(args: list[str], incomplete: str) -> Iterator[Offer]:
    root = command_line()
    context = shell_completion._resolve_context(root, {}, "restbroker", args)  # noqa: SLF001 - click's own way
    asked, typed = shell_completion._resolve_incomplete(context, args, incomplete)  # noqa: SLF001
    front = incomplete.removesuffix(typed)
    if isinstance(asked, _click.Parameter) and asked.name is not None:
        own = completion.source(context, asked.name)
        if own is not None:
            yield from (Offer(front + offer.text, offer.said) for offer in own(context, typed))
            return
    for item in asked.shell_complete(context, typed):
        if item.type == "plain":
            yield Offer(front + item.value, item.help or "")
