"""The options that a source of kind `mongooseim-webhook` takes beyond those of every source. Loads no Trio."""

from typing import Annotated, ClassVar

import attrs

from restbroker.config import forms
from restbroker.config.events import EventSource
from restbroker.config.key import duration, key
from restbroker.config.kind import At, SourceDefaults
from restbroker.config.problems import Problems


@attrs.frozen(kw_only=True)
class Options:
    """The members of `Options` in the configuration. Durations are in seconds."""

    DEFAULTS: ClassVar[SourceDefaults] = SourceDefaults(has_ids=False)

    resend_s: Annotated[float, duration(none=True)] = key("Resend", default=1.0, shown="1s")
    """Within this time a repeated message (same sender and recipient) counts once: MongooseIM posts three times if
    unanswered. 0: never."""
    patience_s: forms.Duration = key("Patience", default=0.5, shown="500ms")
    """How long Redis may take before the answer is 503; senders in MongooseIM wait meanwhile."""

    def check(self, source: EventSource, at: At, problems: Problems) -> EventSource:
        """Return the source with its window and patience set from these options; refuse `IQ` in `problems`.

        The window is the longer of the source's own and `resend_s`.
        """
        if source.iq != "refuse":
            problems.refuse(at("IQ"), "has no effect: this kind only reports messages.")
        window_s = max(source.window_s or 0.0, self.resend_s)
        return attrs.evolve(source, window_s=window_s or None, patience_s=self.patience_s)
