"""Why something did not work, as jobs, logs and people read it.

Used by the outcomes and by all rules that refuse. Always holds: a `Reason.code` is stable (it becomes `error_class` in
Sidekiq's sets), and neither message nor hint holds a secret.
"""

from collections.abc import Callable

from restbroker.light import frozen


@frozen
class Reason:
    """Why something did not work: `code` for machines, `message` for people, `hint` for what to do about it.

    `status` is the HTTP status, where there was one.
    """

    code: str
    message: str
    hint: str | None = None
    status: int | None = None

    def hide_secrets(self, hide: Callable[[str, int], str], limit: int) -> "Reason":
        """Return the same reason with message and hint passed through `hide`, each cut to `limit` characters.

        A hint may name an argument too.
        """
        hint = None if self.hint is None else hide(self.hint, limit)
        return Reason(self.code, hide(self.message, limit), hint, self.status)

    @property
    def text(self) -> str:
        """HTTP status, what happened and what to do, in one text for Sidekiq's `error_message`.

        Sidekiq's pages show no more.
        """
        ended = self.message if self.message.endswith((".", "!", "?", "…")) else f"{self.message}."
        return " ".join(str(part) for part in (self.status, ended, self.hint) if part is not None)
