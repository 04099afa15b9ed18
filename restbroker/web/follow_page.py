"""The page of one action: what a person did, and where the jobs are now that it sent again.

`web.site` serves it. Always holds: viewing it changes nothing; it has an address of its own, which may be passed on and
loaded again; it reads no more than its bounds allow, and says what it did not read.
"""

import re
import time
from typing import Final

import attrs
from quart import Response

from restbroker.errors import UsageError
from restbroker.operate.follow import SENT, ActionResult, Run, follow, run
from restbroker.operate.job_search import SearchLimits
from restbroker.store.client import Client
from restbroker.web.connection import AdminConnection
from restbroker.web.sets import SETS
from restbroker.web.shell import Shell

_BOUNDS: Final = SearchLimits(seconds=3.0, jobs=200_000, ends=200_000, gives_way=True)
_SILENT_S: Final = 60.0
"""An action that has not ended counts as stopped if nothing was recorded of it for this many seconds."""
_RUN: Final = re.compile(r"\d{1,15}-\d{1,15}", re.ASCII)


@attrs.frozen(eq=False)
class FollowPages:
    """The view of one action."""

    admin: AdminConnection
    shell: Shell

    async def action(self, name: str) -> Response:
        """Return the page of the action that began with this entry of the audit log.

        Raise `UsageError` if it cannot be the name of an entry.
        """
        if _RUN.fullmatch(name) is None:
            raise UsageError("No action has that name.", "The audit log lists them.")

        def question(client: Client) -> tuple[Run | None, ActionResult | None]:
            found = run(client, name)
            if found is None or found.note.action not in SENT or not found.jids:
                return found, None
            return found, follow(
                client,
                found.jids,
                found.began_s,
                known=self.admin.context(),
                bounds=_BOUNDS,
                elsewhere=found.elsewhere,
                keeps_ends=self.admin.config().history_s is not None,
            )

        found, became = await self.admin.ask(question)
        goes_on = found is not None and not found.note.is_over and time.time() - found.noted_s < _SILENT_S
        lists = {zset: path for path, zset in SETS.items()}
        html = self.shell.page(
            "action.html",
            name="audit",
            title="What happened to it",
            run=found,
            became=became,
            lists=lists,
            is_over=not goes_on and (became is None or became.is_over),
        )
        return Response(html, 404 if found is None else 200)
