"""The web app: pages for people, `/stats` for programs, one login for both; `app` makes it when `Stats` is on.

Always holds: every request passes the guard first; no page uses the connections to Redis that deliver; a browser is
told to load nothing from elsewhere and to run only our one script.
"""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from threading import Event

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Response, request
from quart_trio import QuartTrio

from restbroker.errors import RestbrokerError, UsageError
from restbroker.job.endpoint import either
from restbroker.light import define, field, frozen
from restbroker.serving.app import AppOptions, failure, new_app
from restbroker.telemetry.events import Report
from restbroker.web.actions import ActPages
from restbroker.web.causes import CauseCounter
from restbroker.web.connection import Actions, AdminConnection
from restbroker.web.controls import ControlPages
from restbroker.web.edit import EditPages
from restbroker.web.guard import FOR_PROGRAMS, Guard, PageSettings
from restbroker.web.health import PATHS, HealthSources, add_health
from restbroker.web.live import Fragments, LiveState, SnapshotWatch
from restbroker.web.metrics_view import Question, stats_view
from restbroker.web.pages import Pages, search_word
from restbroker.web.render import LIVE, Asset, Renderer, Shell, read_all
from restbroker.web.route import add_views, page

FORM_LIMIT_BYTES = 64 * 1024
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Not `no-referrer`: browsers would send forms with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_FOR_EVER = "public, max-age=31536000, immutable"


def site_app(
    settings: PageSettings,
    watch: SnapshotWatch,
    admin: AdminConnection,
    question: Callable[[], Question],
    report: Report,
    *,
    health: HealthSources,
) -> QuartTrio:
    """Return the app; `question` makes, for each request, what `/stats` reads over the connection of `watch`."""
    site = _Site(settings, watch, Renderer(settings), report)
    known = either(sorted({"/", *PATHS, *FOR_PROGRAMS}))
    app = new_app("stats", report, AppOptions(_HEADERS, FORM_LIMIT_BYTES, site.refuse, known))
    app.before_request(site.guard.before_request)
    app.register_error_handler(RestbrokerError, site.error_page)
    is_over = Event()

    @app.before_serving
    async def compile_templates() -> None:
        app.add_background_task(site.renderer.compile, is_over.is_set)

    @app.after_serving
    async def stop_compiling() -> None:
        is_over.set()

    for name, live in LIVE.items():
        add_views(app, page("/" if name == "overview" else f"/{name}", live.about)(partial(site.live_page, name)))
    add_views(app, site, *_pages_of_jobs(app, site, admin), stats_view(watch.connection, question))
    add_health(app, health, site.guard.may_see)
    for connection in (watch.connection, admin.connection):
        app.after_serving(connection.aclose)

    app.asgi_app = _StripPrefix(app.asgi_app, settings.prefix)  # type: ignore[method-assign]  # as Quart documents it
    return app


def _pages_of_jobs(app: QuartTrio, site: "_Site", admin: AdminConnection) -> Iterator[object]:
    """Yield what has the views of jobs, and of the actions on them and on all else."""
    shell = Shell(site.renderer, site.settings, site.render_limiter)
    actions = Actions(app, admin)
    # Before its connections are closed.
    app.after_serving(actions.aclose)
    counter = CauseCounter(app, admin)
    app.after_serving(counter.aclose)
    acts = ActPages(admin, shell, site.refuse, site.redirect, actions)
    yield acts
    yield Pages(admin, shell, site.refuse, site.watch.state_for, counter)
    yield EditPages(admin, shell, site.refuse, acts)
    yield ControlPages(admin, shell, site.refuse, site.redirect, actions, site.watch.refresh_now)


def _is_live(name: str, state: LiveState) -> bool:
    """Tell whether there is a live page of this name: of a target, only while it is known."""
    return name in LIVE or name in {f"target/{target.name}" for target in state.figures.targets}


@frozen
class _StripPrefix:
    """Removes the prefix from the path if a proxy has left it there; some do, some do not."""

    app: Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]
    prefix: str

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if self.prefix and scope["type"] == "http" and f"{scope['path']}/".startswith(f"{self.prefix}/"):
            scope = {**scope, "path": scope["path"].removeprefix(self.prefix) or "/"}
        await self.app(scope, receive, send)


@define(eq=False)
class _Site:
    """The views of the app; by `render_limiter`, only one thread at a time renders pages."""

    settings: PageSettings
    watch: SnapshotWatch
    renderer: Renderer
    report: Report
    guard: Guard = field(init=False)
    render_limiter: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1))
    _fragments: Fragments = field(init=False)
    _files: dict[str, Asset] = field(factory=read_all)

    def __attrs_post_init__(self) -> None:
        self.guard = Guard(self.settings, self.report, self.refuse)
        self._fragments = Fragments(self.renderer.fragment, self.render_limiter)

    def refuse(self, status: int, code: str, message: str, hint: str | None = None) -> Response:
        """Return the answer that says why there is no page: as a page for people, as JSON for programs."""
        if "text/html" not in request.headers.get("Accept", ""):
            return failure(status, code, message, hint)
        html = self.renderer.page("refusal.html", title="Error", message=message, hint=hint)
        return Response(html, status)

    async def error_page(self, error: RestbrokerError) -> Response:
        """Return the answer for an error: 400 for a `UsageError`, otherwise 503."""
        status = 400 if isinstance(error, UsageError) else 503
        return self.refuse(status, type(error).__name__, error.message, error.hint)

    async def live_page(self, name: str) -> Response:
        """Return a live page as it is now."""
        state, word = await self.watch.state_for(), search_word("q")
        html = self.renderer.live_page(name, await self._fragments.make(name, state, word), word)
        return Response(html, 200 if state.error is None else 503)

    @page("/target?name=…", "one target, with its charts")
    async def target(self) -> Response:
        """Return the page of one target; refuse it with 404 if there is no such target."""
        name = f"target/{request.args.get('name', '')}"
        if not _is_live(name, await self.watch.state_for()):
            return self.refuse(404, "NotFound", "No process serves this target, and nobody has paused it.")
        return await self.live_page(name)

    @page("/live?page=…", "parts of an open page")
    async def live(self) -> Response:
        """Return the parts of a page as they are now, or 304 to who has them; refuse it if there is no such page."""
        name, state = request.args.get("page", ""), await self.watch.state_for()
        if not _is_live(name, state):
            return self.refuse(404, "NotFound", "This page has no live updates.")
        found = await self._fragments.make(name, state, search_word("q"))
        is_known = found.tag in request.if_none_match
        response = Response("", 304) if is_known else Response(found.html, content_type="text/html; charset=utf-8")
        response.set_etag(found.tag)
        return response

    @page("/static/<name>", "style sheet, script")
    async def static_file(self, name: str) -> Response:
        """Return a file beside the pages, such as the style sheet; refuse it with 404 if there is none of that name."""
        asset = self._files.get(name)
        if asset is None:
            return self.refuse(404, "NotFound", "There is no such file.")
        response = Response(asset.body, content_type=asset.content_type)
        is_named = request.args.get("v") == asset.digest
        response.headers["Cache-Control"] = _FOR_EVER if is_named else "no-cache"
        return response

    def redirect(self, path: str) -> Response:
        """Return a redirect to another page of ours."""
        return Response("", 303, {"Location": f"{self.settings.prefix}{path}"})
