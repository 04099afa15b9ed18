"""What one plain job passes: each function and file of ours, from its fetch to its acknowledgement. Run it as a module.

A whole broker runs in this process, on a real Redis and beside a server that answers. Once it is idle, one job is
pushed, and every call of restbroker's own functions in the tasks that the job passes (poller, listener or worker,
acker) is noted. Prints the files with their functions; upkeep (heartbeat, scheduler, reaper, …) is left out.
"""

import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from types import CodeType, FrameType

import trio

from restbroker.app.build import plan_of
from restbroker.broker import broker
from restbroker.broker.signals import Control
from restbroker.config.core import LoadedConfig
from restbroker.config.load import load
from restbroker.servers import registry
from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from restbroker.telemetry.counters import Counters
from restbroker.telemetry.events import Event, JobsDelivered
from tests.support.answering import AnsweringServer
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.several import Several, target
from tests.support.shared import TOKEN

PACKAGE = str(Path(broker.__file__).parents[1]) + "/"
JOB = b'{"class":"Add","args":["connected_users_number",{},"%s"],"jid":"%d","queue":"q","retry":true}'
TASKS = ("Poller.run", "Worker.run", "Worker._run_round", "Acker.run", "Readiness.run")
IDLE_S = 2.0


class Trace:
    """Counts calls in the tasks of `TASKS`; `profile` is for `sys.setprofile`."""

    def __init__(self) -> None:
        self.calls: Counter[CodeType] = Counter()

    def profile(self, frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(PACKAGE) or code.co_name.startswith("<"):
            return
        try:
            task = trio.lowlevel.current_task()
        except RuntimeError:
            return
        if task.name.endswith(TASKS):
            self.calls[code] += 1

    def rows(self) -> list[str]:
        """Return a line for each file, with its functions, and the sums."""
        by_file: defaultdict[str, list[str]] = defaultdict(list)
        for code, count in self.calls.items():
            by_file[code.co_filename.removeprefix(PACKAGE)].append(f"{code.co_qualname}×{count}")
        rows = [f"{len(names):4}  {file}: {', '.join(names)}" for file, names in sorted(by_file.items())]
        return [*rows, f"{len(self.calls)} functions in {len(by_file)} files, {self.calls.total()} calls"]


async def _run(loaded: LoadedConfig, redis_url: str, trace: Trace) -> None:
    def note(event: Event) -> None:
        if isinstance(event, JobsDelivered):
            sys.setprofile(None)

    plan, control = plan_of(loaded.config, note, Counters()), Control()
    client = open_client(StoreSettings(redis_url))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.run, plan, control)
        # One job is done before: what the first one pays for others do not.
        queues.push(client, "q", [JOB % (TOKEN.encode(), 0)])
        await trio.sleep(IDLE_S)
        sys.setprofile(trace.profile)
        queues.push(client, "q", [JOB % (TOKEN.encode(), 1)])
        await trio.sleep(1)
        sys.setprofile(None)
        control.stop.set()
    client.close()


def main() -> None:
    """Trace one job and print what it passed."""
    trace = Trace()
    with tempfile.TemporaryDirectory() as folder, AnsweringServer() as server:
        redis = RedisServer(redis_binary(), Path(folder, "redis")).start()
        try:
            several = Several(Path(folder, "env.json"), redis.url, open_client(StoreSettings(redis.url)))
            several.configure({"t": target(server.port, "q")})
            trio.run(_run, load(several.path, {}, {}, registry.kinds()), redis.url, trace)
        finally:
            redis.close()
    sys.stdout.write("\n".join(trace.rows()) + "\n")


if __name__ == "__main__":
    main()
