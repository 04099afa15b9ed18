"""The order in which a fetch tries a target's queues, where they have weights.

The poller calls `draw_order` before each fetch. Always holds: every queue is in the order once, so that none starves:
however light, it is tried whenever those before it held fewer jobs than the fetch wants, and first in its share of all
fetches.
"""

from collections.abc import Callable, Mapping


def draw_order(weights: Mapping[str, int], random: Callable[[], float]) -> tuple[str, ...]:
    """Return the queues in random order, drawn one after the other by their weights (queue → 1 or more).

    Each draw gives a queue the chance that its weight has among those that are left. That is how Sidekiq draws (a list
    with each queue as often as its weight, shuffled, doubles dropped), without the list. `random` returns numbers from
    0 to below 1.
    """
    # Each queue's first arrival in a race in which it starts `weight` runners (Efraimidis and Spirakis).
    lots = {queue: random() ** (1 / weight) for queue, weight in weights.items()}
    return tuple(sorted(lots, key=lots.__getitem__, reverse=True))
