"""Answers a shell's question at the Tab key, as its script asks it (`cli.shells`).

Called by `__main__` where the environment says so, in place of the command line. Always holds: nothing is written to
stderr and nothing is changed; whatever goes wrong is answered with nothing; only what needs no quotes in a shell is
offered.
"""

import gc
import os
import re
import shlex
import sys
from collections.abc import Iterator
from typing import Final

from restbroker.cli import help_pages
from restbroker.cli.shells import LINE, WORD

Offered = tuple[str, str]
"""A candidate, a whole word, and what is said of it."""

_PLAIN: Final = re.compile(r"[\w.,:@/+%=-]+")
"""What a shell takes as it is; a queue's name with more in it could be run by Enter."""


def answer(shell: str) -> None:
    """Prints the candidates for the line's last word. Ends the process."""
    gc.disable()  # it lives too short for garbage
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
    for text, about in _offers(args, incomplete):
        if not text.startswith(incomplete) or not _PLAIN.fullmatch(text):
            continue
        said = " ".join(about.split())
        match shell:
            case "bash":
                yield text[len(incomplete.removesuffix(word)) :]
            case "zsh":
                yield text.replace(":", "\\:") + (f":{said}" if said else "")
            case _:
                yield text + (f"\t{said}" if said else "")


def _words(line: str) -> tuple[list[str], str]:
    """The words behind the program's name, and the one that is being typed; a quote may still be open."""
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    try:
        words.extend(lexer)
    except ValueError:
        words.append(lexer.token)
    is_new = len(words) < 2 or line.endswith((" ", "\t"))
    return (words[1:], "") if is_new else (words[1:-1], words[-1])


def _offers(args: list[str], incomplete: str) -> Iterator[Offered]:
    known = {} if incomplete.startswith("-") else help_pages.below(args)
    if known:
        return iter(known.items())
    flags = help_pages.flags("enqueue") if args[:1] == ["enqueue"] else None
    if flags:
        from restbroker.cli import completion

        found = completion.of_enqueue(args[1:], incomplete, flags)
        if found is not None:
            return ((offer.text, offer.said) for offer in found)
    return _asked(args, incomplete)


def _asked(args: list[str], incomplete: str) -> Iterator[Offered]:
    """What the command itself, or what it is about, has to offer."""
    from typer import _click  # see cli.app
    from typer._click import shell_completion

    from restbroker.cli import completion
    from restbroker.cli.app import command_line

    context = shell_completion._resolve_context(command_line(), {}, "restbroker", args)  # noqa: SLF001 - as click does
    asked, typed = shell_completion._resolve_incomplete(context, args, incomplete)  # noqa: SLF001
    front = incomplete.removesuffix(typed)
    if isinstance(asked, _click.Parameter) and asked.name is not None:
        own = completion.source(context, asked.name)
        if own is not None:
            yield from ((front + offer.text, offer.said) for offer in own(context, typed))
            return
    for item in asked.shell_complete(context, typed):
        if item.type == "plain":
            yield front + item.value, item.help or ""
