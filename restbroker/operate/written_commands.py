"""The commands that stand in a configuration, `Periodic` and `Command` of events, read for a version of their server.

A process reads its own for its heartbeat, and `check` those of the file. Always holds: what `enqueue` would refuse to
push there is unfit, in its words; no value is shown; of a server whose version is unknown, nothing is.
"""

from collections.abc import Iterator, Mapping

from restbroker.config.core import Config
from restbroker.config.problems import at
from restbroker.config.target import Target
from restbroker.errors import ConfigError, UsageError
from restbroker.job.json_types import Json
from restbroker.operate.request import best_fit, periodic_requests, signatures_of


def unfit_commands(config: Config, target: Target, version: str | None) -> dict[str, Json]:
    """Return why this version of the target's server does not take commands as they stand there, by their places."""
    if version is None:
        return {}
    found = {place: _why_unfit(target, version, command, given) for place, command, given in _written(config, target)}
    return {place: why for place, why in found.items() if why is not None}


def _written(config: Config, target: Target) -> Iterator[tuple[str, str, Mapping[str, Json]]]:
    """Yield the place, the command and the arguments of each; what an event fills in has a name alone."""
    for request in periodic_requests(config):
        if request.target == target.name:
            yield at("Periodic", request.name), request.command.command, request.command.arguments
    for place, _, route in () if config.events is None else config.events.handovers:
        said = route.handover
        # Without templates the members of the event are its arguments, as far as the command takes them.
        if said.target == target.name and said.arguments:
            yield place, said.command, dict.fromkeys(said.arguments)


def _why_unfit(target: Target, version: str, command: str, given: Mapping[str, Json]) -> str | None:
    try:
        signatures = signatures_of(target, version, command, any_command=False)
    except UsageError as error:
        return f"{error.message} {error.hint}"
    except ConfigError:  # a bug of another package's kind, of which its target tells
        return None
    fit = best_fit(signatures, given, target.default_host)
    if fit is None or fit.reason is None:
        return None
    return f"{fit.reason} This is how {signatures.server} takes it."
