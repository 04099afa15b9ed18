"""What a target of kind `synapse` has to say: its domain, and the token of an administrator. It takes no options."""

from typing import ClassVar

import attrs

from restbroker.config.kind import At, Defaults, note_no_login
from restbroker.config.problems import Problems
from restbroker.config.target import Bearer, Target


@attrs.frozen
class Options:
    """None. A Synapse has one domain, its `server_name`, which is often another name than that of its URL."""

    DEFAULTS: ClassVar = Defaults(concurrency=4, domain_is_host=False, url="http://127.0.0.1:8008")

    def check(self, target: Target, at: At, problems: Problems) -> Target:
        """Return the target as it is; problems go to `problems`."""
        if target.default_host is None:
            problems.refuse(at("Domain"), "must be given: it is the server_name in Synapse's homeserver.yaml.")
        match target.credentials:
            case Bearer():
                pass
            case None:
                note_no_login(target, f"Give {at('Auth')} with Bearer.", problems)
            case _:
                problems.refuse(at("Auth"), "must be Bearer: Synapse takes access tokens alone.")
        return target
