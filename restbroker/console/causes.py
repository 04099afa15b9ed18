"""Causes of failed jobs in words, as people read them in a terminal and on a page.

Used by `dead summary` and the pages. Always holds: pure; nothing of a job appears that may not be shown.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from restbroker.operate.summary import Cause, Summary


def headline(found: "Summary", kind: str = "") -> str:
    """Return `3 causes account for 95 % of 1,366 jobs`; with `kind` "dead", `… of 1,366 dead jobs`.

    It counts only the jobs that were read and match the conditions.
    """
    main = found.main
    causes = "1 cause accounts for" if len(main) == 1 else f"{len(main):,} causes account for"
    percent = round(100 * sum(cause.jobs for cause in main) / found.matching)
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
    from restbroker.console import codes

    rows = codes.explanations_of(cause.code or "")
    text = next((row["hint"] for row in rows if " job" in row["what"]), "")
    verb = text.partition(" ")[0]
    return None if not text or re.search(rf"(?:^|[.!?:] ){re.escape(verb)}\b", cause.message or "") else text


def share(cause: "Cause", found: "Summary") -> float:
    """Return the share of a cause in percent, of the jobs that were read and match the conditions."""
    return round(100 * cause.jobs / found.matching, 1)
