"""Why something did not work, as jobs, logs and people read it.

Used by the outcomes and by all rules that refuse. Always holds: a `Reason.code` is stable (it becomes `error_class` in
Sidekiq's sets), and neither message nor cure holds a secret.
"""

from collections.abc import Callable

import attrs


@attrs.frozen
class Reason:
    """Why something did not work: `code` for machines, `message` for people, `cure` for what to do about it.

    `status` is the HTTP status, where there was one.
    """

    code: str
    message: str
    cure: str | None = None
    status: int | None = None

    def hide_secrets(self, hide: Callable[[str, int], str], limit: int) -> "Reason":
        """Return the same reason with message and cure passed through `hide`, each cut to `limit` characters.

        A cure may name an argument too.
        """
        cure = None if self.cure is None else hide(self.cure, limit)
        return attrs.evolve(self, message=hide(self.message, limit), cure=cure)

    @property
    def text(self) -> str:
        """HTTP status, what happened and what to do, in one text for Sidekiq's `error_message`.

        Sidekiq's pages show no more.
        """
        ended = self.message if self.message.endswith((".", "!", "?", "…")) else f"{self.message}."
        return " ".join(str(part) for part in (self.status, ended, self.cure) if part is not None)
