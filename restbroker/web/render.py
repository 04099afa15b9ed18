"""Make HTML: pages of parts, which are sent anew while the page is open, and the files beside them; used by all views.

Always holds: everything is escaped (Jinja's autoescape), and an invisible character is shown as an escape; Redis is not
used here; no file but those in `static` is served, each requested with its digest, so that a browser may keep it
forever and still gets the new one after an update.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path

import trio
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from quart import g, request

from restbroker import __version__
from restbroker.console import causes
from restbroker.light import define, field, frozen
from restbroker.operate.events import outcomes_text
from restbroker.operate.system import target_state
from restbroker.operate.throttle import Throttle, throttle_items
from restbroker.operate.words import all_well, outlook_text, pause_details, pause_text, state_text
from restbroker.web import filters, views
from restbroker.web.charts import HEIGHT, clock
from restbroker.web.guard import PageSettings
from restbroker.web.live import Fragment, LiveState

_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_STATIC = Path(__file__).parent / "static"


@frozen
class Asset:
    """A file's bytes, its content type, and the digest that is in its address."""

    body: bytes
    content_type: str
    digest: str


def read_all() -> dict[str, Asset]:
    """Return every file by its name."""
    return {path.name: _read(path) for path in sorted(_STATIC.iterdir()) if path.suffix in _TYPES}


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(body, _TYPES[path.suffix], sha256(body).hexdigest()[:12])


_FOLDER = Path(__file__).parent / "templates"


@frozen
class Page:
    """A page that updates itself: its title, and the names of its parts (templates/parts), from top to bottom.

    `about`: what the documentation says of it.
    """

    title: str
    parts: Sequence[str]
    about: str = ""


LIVE: Mapping[str, Page] = {
    "overview": Page("Overview", ("banner", "alarms", "totals", "charts", "targets", "queues"), "what is wrong now"),
    "jobs": Page("Waiting", ("tabs", "banner", "alarms", "search", "queues"), "queues with waiting jobs"),
    "targets": Page("Targets", ("banner", "alarms", "search", "targets", "worker_pools"), "all targets"),
    "events": Page("Events", ("banner", "alarms", "search", "sources"), "[event sources](events.md#watch-them-come)"),
    "processes": Page("Processes", ("banner", "alarms", "search", "processes"), "processes, also Ruby's"),
}
"""By their addresses without the slash; the overview's is the slash alone."""
ONE_TARGET = Page("Target", ("banner", "alarms", "targets", "charts", "worker_pools"))
"""The page of a target, which is called `target/NAME`."""
TITLES: Mapping[str, str] = {"scheduled": "Scheduled", "retries": "Retries", "dead": "Dead"}
"""The pages of the sets: name → title."""
TABS: Mapping[str, Mapping[str, str]] = {
    "jobs": {"jobs": "Waiting", "in-progress": "In progress", **TITLES, "finished": "Finished"},
    "activity": {"activity": "Audit log", "find": "Find jobs"},
}
"""The pages of a place that has several, as tabs: name → title."""
_PLACES: Mapping[str, tuple[str, str]] = {
    "overview": ("o", "M2.5 2.5H7V7H2.5zM9 2.5h4.5V7H9zM2.5 9H7v4.5H2.5zM9 9h4.5v4.5H9z"),
    "jobs": ("j", "M2.5 3.5h11v3h-11zM2.5 9.5h11M2.5 12.5h7"),
    "targets": ("t", "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 5.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z"),
    "events": ("e", "M9 1.8 3.5 9H8l-1 5.2L12.5 7H8z"),
    "processes": ("p", "M4.5 4.5h7v7h-7zM6.5 2v2.5m3-2.5v2.5m-3 7V14m3-2.5V14M2 6.5h2.5M2 9.5h2.5m7-3H14m-2.5 3H14"),
    "activity": ("a", "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 4.8V8l2.3 1.6"),
}
"""The places of the navigation: name → its key after `g`, and its icon as a path in a box of 16."""


def page_of(name: str) -> Page:
    """Return the live page of this name."""
    return ONE_TARGET if name.startswith("target/") else LIVE[name]


@define(eq=False)
class Renderer:
    """The renderer of an app; several threads may use it."""

    settings: PageSettings
    _environment: Environment = field(init=False)

    def __attrs_post_init__(self) -> None:
        environment = Environment(
            loader=FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            finalize=filters.plain,
        )
        digests = {name: asset.digest for name, asset in read_all().items()}
        for filter_ in (
            filters.number,
            filters.decimal,
            filters.duration,
            filters.milliseconds,
            filters.when,
            filters.brief,
            filters.argument_columns,
            filters.with_code,
            filters.waits_for,
            outcomes_text,
            outlook_text,
            all_well,
            pause_details,
            pause_text,
            state_text,
            target_state,
            clock,
            causes.headline,
            causes.hint,
            causes.first_step,
            causes.share,
            causes.words,
        ):
            environment.filters[filter_.__name__] = filter_
        environment.globals |= {
            "url": lambda path: f"{self.settings.prefix}{path}",
            "asset": lambda name: f"{self.settings.prefix}/static/{name}?v={digests[name]}",
            "version": __version__,
            "settings": self.settings,
            "places": _PLACES,
            "tabs": TABS,
            "place_of": {page: place for place, pages in TABS.items() for page in pages} | {"target": "targets"},
            "chart_height": HEIGHT,
            "recent": views.RECENT,
        }
        self._environment = environment

    def compile(self, is_over: Callable[[], bool]) -> None:
        """Compile all templates, with pauses, so that no visitor waits for it; call it in a thread.

        End before the next one once `is_over`: a stop waits for the thread.
        """
        throttle = Throttle()
        for name in self._environment.list_templates():
            if is_over():
                return
            self._environment.get_template(name)
            throttle.step()

    def page(self, template: str, **values: object) -> str:
        """Return a whole page, made of this template and these values."""
        return self._environment.get_template(template).render(**values)

    def throttled_page(self, template: str, **values: object) -> str:
        """Return a whole page as `page` does, but with pauses, so that deliveries go on; call it in a thread."""
        return "".join(throttle_items(self._environment.get_template(template).generate(**values), Throttle()))

    def fragment(self, name: str, state: LiveState, word: str = "") -> str:
        """Return the parts of a live page, each in an element of its name; call it in a thread.

        With a `word`, tables have only the rows that contain it.
        """
        page, target = page_of(name), name.partition("/")[2]
        state = state.of_target(target) if target else state
        shown, hidden = views.tables(state, word.casefold())
        values: dict[str, object] = {
            "state": state,
            "page_name": name,
            "word": word,
            "alarms": views.alarms(state, name),
            "totals": views.totals(state),
            "answers": views.answers(state),
            **views.heads(state),
            "causes": views.causes(state),
            "hidden": hidden,
            **shown,
        }
        if "charts" in page.parts:
            values["board"] = views.board(state, target)
        parts = {part: self.throttled_page(f"parts/{part}.html", **values) for part in page.parts}
        return "".join(f'<div id="part-{part}">{html}</div>\n' for part, html in parts.items())

    def live_page(self, name: str, fragment: Fragment, word: str) -> str:
        """Return a whole live page around its rendered parts."""
        html = Markup(fragment.html)  # noqa: S704 - of our templates
        place, _, target = name.partition("/")
        title = target or page_of(name).title
        return self.page("live.html", name=place, page=name, title=title, fragment=html, tag=fragment.tag, word=word)


@frozen(eq=False)
class Shell:
    """Renders pages; by `render_limiter`, one page of jobs at a time."""

    renderer: Renderer
    settings: PageSettings
    render_limiter: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1))

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
