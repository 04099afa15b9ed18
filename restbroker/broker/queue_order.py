"""In which order a target's queues are asked for jobs, where they have weights.

The fetcher asks before each fetch. Always holds: every queue is in the order once, so that none starves: however light,
it is asked whenever those before it had less than was wanted, and first in its share of all fetches.
"""

from collections.abc import Callable, Mapping


def drawn(weights: Mapping[str, int], random: Callable[[], float]) -> tuple[str, ...]:
    """The queues, drawn one after the other, each with the chance that its weight has among those that are left.

    That is how Sidekiq draws (a list with each queue as often as its weight, shuffled, doubles dropped), without the
    list. `random` gives numbers from 0 to below 1. Weights are 1 or more.
    """
    # Each queue's first arrival in a race in which it starts `weight` runners (Efraimidis and Spirakis).
    lots = {queue: random() ** (1 / weight) for queue, weight in weights.items()}
    return tuple(sorted(lots, key=lots.__getitem__, reverse=True))
