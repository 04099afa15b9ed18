"""Makes a dead job of a message that is not an event, so that an operator sees it, with the reason.

Called by `reader`. Always holds: pure; the job holds the message byte for byte, as text or in base64, or, if it is
longer than 1 MiB, its beginning; users who may not see message texts do not see it (`raw`, see `job.redact`).
"""

import base64
from typing import Final

from restbroker.config.events import EventSource
from restbroker.events.amqp.read import LIMIT_BYTES, Message
from restbroker.job import rubyjson
from restbroker.job.json_types import Json
from restbroker.job.repair import fractional

ERROR_CLASS: Final = "MalformedEvent"


def dead_job(message: Message, source: EventSource, jid: str, why: str, now_s: float) -> bytes:
    """Return a job of the source's class and queue, encoded, whose one argument has the members of an event.

    Class and queue are those of the first route, if the source has only routes. `why` becomes its error message.
    """
    moment_s = fractional(now_s)
    queue, job_class = source.queue, source.job_class
    if not (queue and job_class):
        queue, job_class = source.routes[0].queue, source.routes[0].job_class
    raw: dict[str, Json] = {"exchange": message.exchange, "routing_key": message.key, **_body(message.body)}
    members: tuple[str, ...] = ("type", "from", "to", "id", "body", "room", "presence", "server")
    event: dict[str, Json] = dict.fromkeys(members)
    fields: dict[str, Json] = {
        "class": job_class,
        "args": [{**event, "source": source.name, "received_at": moment_s, "raw": raw}],
        "jid": jid,
        "queue": queue,
        "retry": True,
        "created_at": moment_s,
        "error_message": f"RabbitMQ delivered something that is not an event: {why}.",
        "error_class": ERROR_CLASS,
        "failed_at": moment_s,
        "retry_count": 0,
    }
    return rubyjson.dumps(fields)


def _body(body: bytes) -> dict[str, Json]:
    cut = body[:LIMIT_BYTES]
    size: dict[str, Json] = {} if len(cut) == len(body) else {"size": len(body)}
    try:
        return {"text": cut.decode(), **size}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(cut).decode(), **size}
