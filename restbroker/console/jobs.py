"""Show copies of dead jobs: in lines for people, in columns or JSON for programs.

Called by `dead --trimmed`; others take `tokens` from here. Always holds: neither arguments nor a token are shown.
"""

import sys
from collections.abc import Sequence

from restbroker.config.core import Config
from restbroker.console import output
from restbroker.console.times import local, utc
from restbroker.operate.jobs import StoredJob


def tokens(settings: Config) -> frozenset[str]:
    """Return the secrets of all tokens, which must not be shown; raise `ConfigError` if a file is unreadable."""
    return frozenset(secret.reveal() for token in settings.tokens for secret in token.secrets)


def write(found: Sequence[StoredJob], *, as_json: bool) -> None:
    """Print these jobs."""
    if as_json:
        output.as_json([_fields(job) for job in found])
    elif sys.stdout.isatty():
        _draw(found)
    else:
        for job in found:
            output.row(value or "-" for value in _fields(job).values())


def _fields(job: StoredJob) -> dict[str, str | None]:
    return {
        "when": utc(job.at_s),
        "jid": job.jid,
        "command": job.command,
        "error_class": job.error_class,
        "message": job.message,
    }


def _draw(found: Sequence[StoredJob]) -> None:
    """Print two lines for each job, with local times; a table would not fit."""
    for job in found:
        words = (job.command, job.error_class, job.jid)
        output.data(f"{local(job.at_s)}  " + "  ".join(word for word in words if word is not None))
        if job.message is not None:
            output.data(f"    {job.message}")
