"""A page for the visitor of the request at hand: rendered with the mark that its forms carry. Used by all views."""

from collections.abc import Callable
from functools import partial

import attrs
import trio
from quart import g, request

from restbroker.web.render import Renderer
from restbroker.web.settings import Settings


@attrs.frozen(eq=False)
class Shell:
    """`mark` makes the mark for the forms of this answer; `turn`: pages of jobs are rendered one at a time."""

    renderer: Renderer
    settings: Settings
    mark: Callable[[], str]
    turn: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))

    def page(self, template: str, **values: object) -> str:
        """The page."""
        return self.renderer.page(template, mark=self.mark(), **values)

    async def page_of_jobs(self, template: str, **values: object) -> str:
        """The same, in a thread: of what producers wrote much has to be escaped and cut."""
        work = partial(self.renderer.paced_page, template, mark=self.mark(), **values)
        return await trio.to_thread.run_sync(work, limiter=self.turn)

    def who(self) -> str:
        """Who does something, for the record of it."""
        user = self.settings.login.user if self.settings.login is not None else "web"
        return f"{user}@{request.remote_addr or 'unknown'} (web)" if g else user
