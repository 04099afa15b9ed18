"""Has the log write its summaries every ten seconds. `build` and `no_delivery` run it."""

import attrs
import trio

from restbroker.telemetry.log import LogSink

_SUMMARY_S = 10.0


@attrs.frozen
class Summaries:
    """A service that calls the log's `tick` every ten seconds."""

    log: LogSink

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Write summaries until cancelled, and the last one then."""
        task_status.started()
        try:
            while True:
                await trio.sleep(_SUMMARY_S)
                self.log.tick(trio.current_time())
        finally:
            self.log.tick(trio.current_time())
