"""The state of a broker as plain values, for readers outside of it.

`Status` makes them; pages, systemd and supervisors read them. Always holds: no code that delivers jobs is imported
here, so that a supervisor stays small.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from restbroker.job.command import CommandSpec
from restbroker.job.job import Job
from restbroker.light import field, frozen

Phase = Literal["starting", "serving", "quiet", "stopping"]


@frozen
class View:
    """The broker at one moment. `down_targets` is {target that gets no jobs now: code of the reason}.

    `finishing`: how many jobs still run under an earlier configuration. `refused`: a pool waits until Redis gives out
    or settles jobs again. `store_reason`: why Redis cannot be used, in the log's words.
    """

    phase: Phase
    store_up: bool
    heartbeat_fresh: bool
    down_targets: Mapping[str, str]
    finishing: int = 0
    refused: bool = False
    store_reason: str | None = None

    @property
    def unready(self) -> str | None:
        """Why this process takes no jobs; None if it does, or is quiet. A target that is down is no reason."""
        if self.phase == "starting" and self.store_reason is not None:
            return f"The broker waits for Redis. {self.store_reason}"
        if self.phase in {"starting", "stopping"}:
            return f"The broker is {self.phase}."
        if not self.store_up:
            return self.store_reason or "Redis is unavailable."
        if not self.heartbeat_fresh:
            return "Redis has not confirmed this process for too long."
        if self.refused:
            return "Redis refuses to fetch or to settle jobs. The log says why."
        return None


def together(views: Sequence[View], *, stopping: bool) -> View:
    """Return the views of several processes as one, ready when each of them is. `stopping`: all of them are to end."""
    phases = {view.phase for view in views}
    phase: Phase = "serving"
    if stopping:
        phase = "stopping"
    elif phases & {"starting", "stopping"}:
        # One that stops alone is started again.
        phase = "starting"
    elif phases == {"quiet"}:
        phase = "quiet"
    return View(
        phase,
        store_up=all(view.store_up for view in views),
        heartbeat_fresh=all(view.heartbeat_fresh for view in views),
        down_targets={name: code for view in views for name, code in view.down_targets.items()},
        finishing=sum(view.finishing for view in views),
        refused=any(view.refused for view in views),
        store_reason=next((view.store_reason for view in views if view.store_reason is not None), None),
    )


@frozen
class RunningJob:
    """A job that a worker has in delivery, since `started_at_s` (epoch seconds). No other job has its `thread` name.

    `secrets`: the tokens' values, to be kept out of everything that is shown. `spec`: what the catalogue says of the
    command.
    """

    job: Job
    queue: str
    started_at_s: float
    command: str
    thread: str
    secrets: tuple[str, ...] = field(repr=False)
    spec: CommandSpec | None = None
