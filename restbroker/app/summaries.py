"""Has the log write every ten seconds what it adds up. `build` runs it, and `group` in a supervisor."""

import attrs
import trio

from restbroker.telemetry.log import LogSink

_SUMMARY_S = 10.0


@attrs.frozen
class Summaries:
    """A service."""

    log: LogSink

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Until cancelled; the last summary is written then."""
        task_status.started()
        try:
            while True:
                await trio.sleep(_SUMMARY_S)
                self.log.tick(trio.current_time())
        finally:
            self.log.tick(trio.current_time())
