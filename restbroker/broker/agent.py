"""What the agents of one pool share: its parts, its name, its connection and its jobs.

The intake, the acker and recovery are agents; the pool makes them. Always holds: all agents of a pool have the same
objects.
"""

from restbroker.broker.health import StoreHealth
from restbroker.broker.identity import Identity
from restbroker.broker.job_in_progress import Reservations
from restbroker.broker.ready_buffer import ReadyBuffer
from restbroker.broker.target_plan import TargetPlan
from restbroker.light import define
from restbroker.store.connection import Connection


@define(eq=False)
class Agent:
    """The base of the agents: what each of them has."""

    plan: TargetPlan
    identity: Identity
    store: Connection
    health: StoreHealth
    reservations: Reservations
    ready: ReadyBuffer
