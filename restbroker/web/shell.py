"""A page for the visitor of the present request; used by all views."""

from functools import partial

import attrs
import trio
from quart import g, request

from restbroker.web.render import Renderer
from restbroker.web.settings import Settings


@attrs.frozen(eq=False)
class Shell:
    """Renders pages; by `render_limiter`, one page of jobs at a time."""

    renderer: Renderer
    settings: Settings
    render_limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))

    def page(self, template: str, **values: object) -> str:
        """Return the page, made of this template and these values."""
        return self.renderer.page(template, **values)

    async def page_of_jobs(self, template: str, **values: object) -> str:
        """Return the page after rendering it in a thread, since much text of producers has to be escaped and cut."""
        work = partial(self.renderer.throttled_page, template, **values)
        return await trio.to_thread.run_sync(work, limiter=self.render_limiter)

    def who(self) -> str:
        """Return who does something, for the audit log: "USER@ADDRESS (web)"."""
        user = self.settings.login.user if self.settings.login is not None else "web"
        return f"{user}@{request.remote_addr or 'unknown'} (web)" if g else user
