"""A page for the visitor of the request at hand: rendered with the mark that its forms carry. Used by all views."""

from collections.abc import Callable

import attrs
from quart import g, request

from restbroker.web.render import Renderer
from restbroker.web.settings import Settings


@attrs.frozen(eq=False)
class Shell:
    """`mark` makes the mark for the forms of this answer."""

    renderer: Renderer
    settings: Settings
    mark: Callable[[], str]

    def page(self, template: str, **values: object) -> str:
        """The page."""
        return self.renderer.page(template, mark=self.mark(), **values)

    def who(self) -> str:
        """Who does something, for the record of it."""
        user = self.settings.login.user if self.settings.login is not None else "web"
        return f"{user}@{request.remote_addr or 'unknown'} (web)" if g else user
