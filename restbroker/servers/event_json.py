"""Reads the JSON in which servers tell of events. Used by hooks and readers; pure."""

from restbroker.job import rubyjson
from restbroker.job.json_types import Json
from restbroker.servers.event_contract import MalformedEvent


def json_of(body: bytes, what: str = "it") -> Json:
    """Return the value in a body; raise `MalformedEvent` if there is none. `what`: its name for people."""
    try:
        return rubyjson.loads(body)
    except rubyjson.Unreadable as error:
        # Its text quotes nothing but single characters and numbers.
        raise MalformedEvent(f"{what} is not JSON that Ruby can read ({error})") from None


def object_of(body: bytes, what: str = "it") -> dict[str, Json]:
    """Return the object in a body; raise as `json_of` does, also for another value."""
    value = json_of(body, what)
    if not isinstance(value, dict):
        raise MalformedEvent(f"{what} is not a JSON object")
    return value
