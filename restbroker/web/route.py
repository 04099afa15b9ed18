"""A view's address, and what it is for, stand on the view: `@page("/job?jid=…", "a timeline")`.

Used by every file with views; `add_views` gives them to an app. Always holds: what the documentation lists
(`dev.tools.endpoint_table`) is made of these.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Literal, TypeVar

from quart import Response
from quart_trio import QuartTrio
from werkzeug.datastructures import MultiDict

from restbroker.errors import UsageError
from restbroker.light import frozen

View = TypeVar("View", bound=Callable[..., Awaitable[Response]])


@frozen
class Route:
    """One address of a view, as the documentation shows it: with the query that it needs.

    `about`: what it is for; "" for a POST to the address of a form, which another view shows.
    """

    shown: str
    about: str
    method: Literal["GET", "POST"]

    @property
    def path(self) -> str:
        """The address without the query."""
        return self.shown.partition("?")[0]


def page(shown: str, about: str = "", *, method: Literal["GET", "POST"] = "GET") -> Callable[[View], View]:
    """Return a decorator that gives a view this address; a view may have several."""

    def route(view: View) -> View:
        vars(view)["routes"] = [Route(shown, about, method), *routes_of(view)]
        return view

    return route


def routes_of(view: object) -> list[Route]:
    """Return the addresses of a view, none of anything else."""
    found: list[Route] = getattr(view, "routes", [])
    return found


def require_declared(given: MultiDict[str, str], *names: str, lists: Collection[str] = ()) -> None:
    """Raise `UsageError` if a form or query has another field than an action declares, or one of `names` twice.

    A name that ends in a dot stands for all that begin with it.
    """
    for field, values in given.lists():
        if field not in lists and (len(values) > 1 or not {field, field[: field.find(".") + 1]} & {*names}):
            what = "comes twice" if len(values) > 1 else "does not belong to this action"
            raise UsageError(f"A field of this form {what}.", "Go back, and press a button.")


def add_views(app: QuartTrio, *owners: object) -> None:
    """Add these views, and those among the methods of these objects' classes, to the app, each at all its addresses."""
    for owner in owners:
        methods = [getattr(owner, name) for name, member in vars(type(owner)).items() if routes_of(member)]
        for view in methods or [owner]:
            for route in routes_of(view):
                app.add_url_rule(route.path, f"{route.method} {route.path}", view, methods=[route.method])
