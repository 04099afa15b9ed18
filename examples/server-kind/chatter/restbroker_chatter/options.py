"""What a target of kind `chatter` takes under `Options`."""

from typing import ClassVar

import attrs

from restbroker.config.key import key
from restbroker.config.kind import At, Defaults, note_no_login
from restbroker.config.problems import Problems
from restbroker.config.target import Bearer, Target


@attrs.frozen
class Options:
    """`notify`: messages ring at their receivers."""

    DEFAULTS: ClassVar = Defaults(concurrency=8, url="http://127.0.0.1:8200")

    notify: bool = key("Notify", "Whether messages ring at their receivers.", default=True)

    def check(self, target: Target, at: At, problems: Problems) -> Target:
        """Return the target as it is to be used; problems go to `problems`."""
        match target.credentials:
            case Bearer():
                pass
            case None:
                note_no_login(target, f"Give {at('Auth')} with Bearer.", problems)
            case _:
                problems.refuse(at("Auth"), "must be Bearer: Chatter takes tokens alone.")
        return target
