"""The page that tests whether a source's events arrive: its form, and the finding of `operate.check.events`.

`web.site` serves it. Always holds: a test needs a marked form, is in the audit log, and one runs at a time; a message
goes only to addresses that the visitor or the source's kind names.
"""

from functools import partial
from typing import Final

import attrs
import trio
from quart import Response, request

from restbroker.config.core import Config
from restbroker.errors import UsageError
from restbroker.operate import audit
from restbroker.operate.check.events import EventTest, test_source
from restbroker.servers.event_contract import Parties
from restbroker.servers.findings import Finding
from restbroker.serving.app import Refuse
from restbroker.web.connection import AdminConnection
from restbroker.web.shell import Shell

_WITHIN_S: Final = 10.0
_LIMIT: Final = 3071
"""The greatest length of a JID, in characters."""


@attrs.frozen
class _Form:
    source: str = ""
    target: str = ""
    sender: str = ""
    receiver: str = ""


@attrs.frozen(eq=False)
class EventTestPages:
    """The views for tests of event sources."""

    admin: AdminConnection
    shell: Shell
    refuse: Refuse
    _running: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))

    async def ask(self) -> Response:
        """Return the page with the form."""
        if self.shell.settings.is_read_only:
            return self.refuse(403, "ReadOnly", "These pages change nothing (StatsReadOnly).")
        return Response(self._page(await self._config(), _Form(source=request.args.get("source", "")), None))

    async def act(self) -> Response:
        """Run the test, and return the page with its finding; raise `UsageError` for a form that is not ours.

        Wait until no other test runs, and then some ten seconds for the event.
        """
        fields = await request.form
        form = _Form(*(fields.get(name, "").strip()[:_LIMIT] for name in ("source", "target", "from", "to")))
        config = await self._config()
        sources = {one.name: one for one in (config.events.sources if config.events is not None else ())}
        if form.source not in sources or form.target not in {"", *(one.name for one in config.targets)}:
            raise UsageError("There is no such source or target.", "Go back, and choose one.")
        note = audit.AuditEntry(who=self.shell.who(), action="test events", place=f"source:{form.source}")
        test = EventTest(Parties(form.sender, form.receiver), [form.target] if form.target else [], _WITHIN_S)
        async with self._running:
            await self.admin.ask(partial(audit.write, note=note))
            finding = await test_source(self.admin.ask, config, sources[form.source], test)
        return Response(self._page(config, form, finding))

    async def _config(self) -> Config:
        # It may read files.
        return await trio.to_thread.run_sync(self.admin.config)

    def _page(self, config: Config, form: _Form, finding: Finding | None) -> str:
        sources = config.events.sources if config.events is not None else ()
        values = {"sources": sources, "targets": config.targets, "form": form, "finding": finding, "within": _WITHIN_S}
        return self.shell.page("event-test.html", name="sources", title="Test events", **values)
