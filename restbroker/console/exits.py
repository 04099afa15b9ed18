"""The exit codes, and which error ends with which; used by `__main__` and by every command.

Always holds: scripts may rely on these numbers; they never change their meaning.
"""

import signal
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from restbroker.errors import ConfigError, OutputLost, RestbrokerError, StoreUnavailable, UsageError


class Exit(IntEnum):
    """How a command ended; a second signal ends it with 128 + its number instead."""

    OK = 0
    FAILED = 1
    """It failed; also a server's "no", as with ejabberdctl."""
    USAGE = 2
    """The command line or the configuration is wrong. Nothing was done."""
    STORE = 3
    """Redis cannot be reached."""
    REFUSED = 4
    """The token, or the credentials at the target, were not accepted."""
    TARGET = 5
    """The target cannot be reached."""
    WAITING = 6
    """No answer came in time, or none could be read or printed; the job is queued, or still in progress."""
    PARTLY = 7
    """Some of several actions failed."""
    OUTPUT = 8
    """stdout cannot be written. The action may have been done."""
    UNREAD = 128 + signal.SIGPIPE
    """The reader of stdout closed it (`| head`)."""


MEANINGS: Final[Mapping[int, str]] = {
    Exit.OK: "Done.",
    Exit.FAILED: "It failed, or the server refused.",
    Exit.USAGE: "The command line or the configuration is wrong. Nothing was done.",
    Exit.STORE: "Redis cannot be reached.",
    Exit.REFUSED: "The token, the command, or the login at the server was refused.",
    Exit.TARGET: "The server cannot be reached.",
    Exit.WAITING: "No answer in time, as from a server that is down or refuses the login: the job is queued or "
    "running. Do not push it again, unless it expired.",
    Exit.PARTLY: "Some of several actions failed.",
    Exit.OUTPUT: "stdout cannot be written. The action may have been done.",
    128 + signal.SIGINT: "Ended by Ctrl-C. Queued jobs stay queued.",
    Exit.UNREAD: "The reader of stdout closed it (`| head`).",
    128 + signal.SIGTERM: "Ended by SIGTERM. Queued jobs stay queued.",
}
"""The meaning of each code, as `--help`, `explain` and the man pages show it."""


_REFUSALS: Final = frozenset(
    {
        *("BadToken", "BadSignature", "UntimelySignature", "SignatureNeeded"),
        *("CommandNotAllowed", "DangerousCommand", "HostNotAllowed", "TargetNotAllowed", "QueueNotAllowed"),
        *("CommandForbidden", "LoginRefused"),
    }
)


def no(outcome: str, code: str) -> Exit:
    """Return the exit code of a job that was not done: REFUSED if its token, login or command was refused, else FAILED.

    `outcome` and `code`: as its reply has them.
    """
    return Exit.REFUSED if outcome == "denied" or code in _REFUSALS else Exit.FAILED


def code_of(error: RestbrokerError) -> Exit:
    """Return the exit code for an error that reached the command line."""
    match error:
        case ConfigError() | UsageError():
            return Exit.USAGE
        case StoreUnavailable():
            return Exit.STORE
        case OutputLost(by_reader=by_reader):
            return Exit.UNREAD if by_reader else Exit.OUTPUT
        case _:
            return Exit.FAILED
