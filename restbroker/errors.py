"""The errors that a user gets to read.

Every room raises these for what a user can act on; `cli` turns them into one message and an exit code. Always holds:
the text says what happened, why, and what to do next, and never contains a secret.
"""


class RestbrokerError(Exception):
    """An error that a user can act on: `message` says what and why, `hint` what to do next."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"


class ConfigError(RestbrokerError):
    """The configuration cannot be used; nothing was started."""


class UsageError(RestbrokerError):
    """The command line cannot be used; nothing was done."""


class OutputLost(RestbrokerError):
    """stdout cannot be written; the action may have been done. `by_reader`: its reader has closed it."""

    def __init__(self, why: OSError) -> None:
        super().__init__(
            f"The output cannot be written: {why.strerror or why}.",
            "The action may have been done. Free some space there, or write elsewhere.",
        )
        self.by_reader = isinstance(why, BrokenPipeError)


class StoreUnavailable(RestbrokerError):
    """Redis did not answer (refused, cut, timed out, loading); the command may or may not have been done."""


class ConnectionEnded(StoreUnavailable):
    """The connection had ended before anything was sent over it. Nothing happened; Redis may well be there."""


class StoreNotNow(StoreUnavailable):
    """Redis answered that it does not do this now (full, starting, cannot save). The command was not done."""


class StoreRefused(RestbrokerError):
    """Redis answered with an error that repeating will not cure (wrong type, no permission, bad script)."""


def kinds_in(group: BaseExceptionGroup[BaseException]) -> str:
    """Return the kinds of exceptions in a group, without their texts, which may hold what strangers sent."""
    kinds = set[str]()
    for error in group.exceptions:
        kinds.add(kinds_in(error) if isinstance(error, BaseExceptionGroup) else type(error).__name__)
    return ", ".join(sorted(kinds))
