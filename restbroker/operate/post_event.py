"""Posts a body to a source of events as its sender would, and tells what becomes of it. Called by `events send`.

Always holds: members and arguments are made by the code of `restbroker run`, and nothing is pushed here; the secret of
the source goes to the address where the file says that it listens, and is shown nowhere.
"""

import time
from collections.abc import Mapping
from http.client import HTTPException
from typing import Final
from urllib.parse import quote, unquote

from restbroker.config.core import Config
from restbroker.config.events import EventSource
from restbroker.config.kind import source_defaults_of
from restbroker.errors import RestbrokerError, UsageError
from restbroker.events import registry
from restbroker.events.deliver import incoming_event
from restbroker.job import redact, rubyjson
from restbroker.job.event import as_json
from restbroker.job.event_command import UnfitEvent
from restbroker.job.json_types import Json
from restbroker.operate.check.services import ask_source, unserved_text
from restbroker.operate.context import ConfigContext
from restbroker.operate.events import ADD_SOURCE, NO_SOURCE
from restbroker.operate.handovers import CommandJobs
from restbroker.operate.names import require
from restbroker.servers.event_contract import HookRequest

_MOST_BYTES: Final = 65_536
_OURS: Final = ("source", "received_at", "raw")
_PLAIN: Final = "%/?:@!$&'()*+,;=~"


def source_of(config: Config, name: str) -> EventSource:
    """Return this source; raise `UsageError` if there is none, or if nobody but its server can post to it."""
    found = {source.name: source for source in (config.events.sources if config.events else ())}
    if not found:
        raise UsageError(NO_SOURCE, ADD_SOURCE)
    require("source of events", name, found)
    source = found[name]
    if source.path is None or source_defaults_of(registry.kinds()[source.kind]).is_signed:
        what = f"The source {name} of kind {source.kind} takes nothing that others post."
        raise UsageError(what, "restbroker fetches its events, or its server signs them.")
    return source


def request_to(source: EventSource, body: bytes, headers: Mapping[str, str], below: str) -> HookRequest:
    """Return the request that a sender makes. `below`: what follows the source's path, with a query."""
    rest = quote(below.removeprefix("/"), safe=_PLAIN, errors="surrogateescape")
    raw, _, query = f"{source.path}/{rest}".partition("?")
    path = unquote(raw, errors="surrogateescape")
    given = {name.lower().encode(): value.encode() for name, value in headers.items()}
    found = path.removeprefix(f"{source.path}/")
    return HookRequest("POST", path, raw.removesuffix("/").encode(), query.encode(), given, body, below=found)


def post(config: Config, source: EventSource, posted: HookRequest) -> dict[str, Json]:
    """Return the status of the answer, the id of the job, and the error.

    Raise `RestbrokerError` if nobody listens, and `UsageError` for a header that HTTP does not allow.
    """
    assert config.events is not None  # noqa: S101  it has this source
    path = f"{posted.raw_path.decode()}?{posted.query.decode()}".removesuffix("?")
    headers = {name.decode(): value.decode("latin-1") for name, value in posted.headers.items()}
    try:
        answer = ask_source(config.events, source, "POST", path, headers, posted.body)
        said = rubyjson.object_of(answer.read(_MOST_BYTES)) or {}
    except (OSError, HTTPException) as error:
        text = unserved_text(source.listen or config.events.listen, error)
        raise RestbrokerError(text, "`restbroker run` starts it; --dry-run needs none.") from None
    except ValueError:
        raise UsageError("HTTP has no such header.", "Write --header NAME:VALUE.") from None
    why = said.get("detail", answer.reason) if answer.status >= 400 else None
    return {"status": answer.status, "jid": answer.headers["Restbroker-Job"], "error": why}


def preview(config: Config, source: EventSource, posted: HookRequest, refusal: str) -> dict[str, Json]:
    """Return what the request becomes by the file, with secrets masked; without a queue the source drops it.

    `refusal`: under which name it says why the file makes nothing of the request.
    """
    found: dict[str, Json] = {"members": None, "queue": None, "command": None, "arguments": None}
    try:
        event = registry.open_hook(source).read(posted, source.name, time.time()).event
        said = {name: value for name, value in as_json(event).items() if value is not None and name not in _OURS}
        found["members"] = redact.arguments(None, said, show_bodies=True)
        made = incoming_event(source, event, "0" * 24, CommandJobs(config, lambda _: "none"))
    except (UnfitEvent, UsageError, ValueError) as error:
        return found | {refusal: getattr(error, "message", f"This is not an event: {error}.")}
    if made is None:
        return found
    match (rubyjson.object_of(made.payload) or {}).get("args"):
        case [str(command), dict() as given, *_]:
            context = ConfigContext({queue: target for target in config.targets for queue in target.queues})
            shown = redact.arguments(context.spec(made.queue, command), given, show_bodies=True)
            found |= {"command": command, "arguments": shown}
    return found | {"queue": made.queue}
