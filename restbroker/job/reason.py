"""Why something did not work, as jobs, logs and people are told it. Used by the outcomes and by all rules that refuse.

Always holds: a `Reason.code` is stable (it becomes `error_class` in Sidekiq's sets), and neither message nor cure holds
a secret.
"""

from collections.abc import Callable

import attrs


@attrs.frozen
class Reason:
    """Why something did not work: `code` for machines, `message` for people, `cure` for what to do."""

    code: str
    message: str
    cure: str | None = None
    status: int | None = None

    def hidden(self, hide: Callable[[str, int], str], limit: int) -> "Reason":
        """The same without what `hide` takes out; either text is cut to `limit`. A cure may name an argument, too."""
        cure = None if self.cure is None else hide(self.cure, limit)
        return attrs.evolve(self, message=hide(self.message, limit), cure=cure)

    @property
    def text(self) -> str:
        """HTTP status, what happened and what to do, as Sidekiq's `error_message` has it: its pages show no more."""
        ended = self.message if self.message.endswith((".", "!", "?", "…")) else f"{self.message}."
        return " ".join(str(part) for part in (self.status, ended, self.cure) if part is not None)
