"""Causes of failed jobs in words, as people read them in a terminal and on a page.

Used by `dead summary` and the pages. Always holds: pure; nothing of a job appears that may not be shown.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from restbroker.operate.summary import Cause, Summary

_SERVER_SAYS = re.compile(r"^(?:\d{3} )?(?:The server says|Status \d{3}): ")
_OURS = " It may have run."


def headline(found: "Summary", kind: str = "") -> str:
    """Return `3 of 12 causes account for 95 % of 1,366 jobs`; with `kind` "dead", `… of 1,366 dead jobs`.

    It counts only the jobs that were read and match the conditions.
    """
    main, every = len(found.main), len(found.causes)
    of = f"{main:,} of {every:,} causes" if main < every else "1 cause" if main == 1 else f"{main:,} causes"
    causes = f"{of} {'accounts' if main == 1 else 'account'} for"
    percent = round(100 * sum(cause.jobs for cause in found.main) / found.matching)
    jobs = " ".join(word for word in (kind, "job" if found.matching == 1 else "jobs") if word)
    return f"{causes} {percent} % of {found.matching:,} {jobs}"


def of_dead(found: "Summary") -> str:
    """Return the headline of the dead set, and, if not all jobs were read, how many there are."""
    more = "" if found.looked_at == found.total else f" looked at, {found.total:,} in all"
    return f"{headline(found, 'dead')}{more}"


def hint(cause: "Cause") -> str | None:
    """Return what to do about the code of a cause; None if that is not known, or the message says it already.

    A message that has a sentence which begins with the same verb says it for its own job.
    """
    text, _ = _known_of(cause.code or "")
    verb = text.partition(" ")[0]
    return None if not text or re.search(rf"(?:^|[.!?:] ){re.escape(verb)}\b", cause.message or "") else text


def words(cause: "Cause") -> tuple[str, str, str]:
    """Return the message of a cause in three parts: up to the server's own words, these, and what follows.

    If there are none, or it is not known where they end, all of it is in the first part.
    """
    message = cause.message or ""
    begin = _SERVER_SAYS.match(message)
    end = len(message[: cause.said_to].removesuffix(_OURS))
    if begin is None or end <= begin.end():
        return message, "", ""
    return message[: begin.end()], message[begin.end() : end], message[end:].removeprefix(".")


def said(message: str | None) -> str:
    """Return a message as a list has it: without the words that only say that the server said it."""
    return _SERVER_SAYS.sub("", message or "-")


def first_step(cause: "Cause") -> str:
    """Return what to do with the jobs of a cause first, as far as its code tells: "edit", "delete" or "retry"."""
    return _known_of(cause.code or "")[1]


@lru_cache(maxsize=1000)
def _known_of(code: str) -> tuple[str, str]:
    """Return what to do about a code, and its first step; to read them takes 2 ms each."""
    from restbroker.console import codes

    hint = next((row["hint"] for row in codes.explanations_of(code) if " job" in row["what"]), "")
    return hint, codes.first_step(code)


def share(cause: "Cause", found: "Summary") -> float:
    """Return the share of a cause in percent, of the jobs that were read and match the conditions."""
    return round(100 * cause.jobs / found.matching, 1)
