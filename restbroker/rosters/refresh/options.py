"""The options that a target of kind `prosody-roster` takes beyond those of every target. Loads no Trio."""

from typing import Annotated, ClassVar

import attrs

from restbroker.config import forms
from restbroker.config.key import key, whole
from restbroker.config.kind import At, Defaults
from restbroker.config.problems import Problems
from restbroker.config.target import Target
from restbroker.light import frozen


@frozen(kw_only=True)
class Options:
    """The keys under `Options`; durations are seconds."""

    DEFAULTS: ClassVar[Defaults] = Defaults(concurrency=200, timeout_s=5.0, url="http://127.0.0.1:5280/roster_admin")
    """Defaults for the burst that a roster service bears; Prosody answers within milliseconds, or never."""

    debounce_s: forms.Duration = key("Debounce", default=0.2, shown="200ms")
    """A refresh without `now` waits until a roster is unchanged for this long."""
    max_wait_s: forms.Duration = key("MaxWait", default=1.0, shown="1s")
    """But no longer than this after the first change."""
    batch_size: Annotated[int, whole(1, 50)] = key("BatchSize", default=50)
    """The greatest number of users in one request."""
    writes_only: bool = key("WritesOnly", default=False)
    """Take only commands that change rosters, also while Prosody is down; leave refreshes to Roster.Target."""

    def check(self, target: Target, at: At, problems: Problems) -> Target:
        """Return the target with its options judged, for `config.kind`; problems go to `problems`."""
        place = at("Options")
        if self.max_wait_s < self.debounce_s:
            why = "is shorter than Debounce; make it at least as long."
            problems.refuse(f"{place}.MaxWait", why)
        if target.default_host is None:
            message = f"{at('Domain')} is missing: users and contacts without a domain need it."
            problems.note(
                "NoDomain", message, f'Give {at("Domain")} the name of Prosody\'s VirtualHost, e.g. "example.org".'
            )
        return attrs.evolve(target, is_local=self.writes_only)
