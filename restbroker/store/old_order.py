"""What is left of an order that a target had, or that a target of another name had in the same queues.

Used by brokers when they begin, and by `operate`. Always holds: nothing is written.
"""

from collections.abc import Sequence

from restbroker.store.client import Client, integer, raw


def is_left(client: Client, target: str) -> bool:
    """Tell whether a target has, or had, its jobs done in order. Raise `StoreUnavailable` or `StoreRefused`."""
    return client.command("EXISTS", client.keys.order_by(target)) == 1


def keys_by(client: Client, target: str) -> str | None:
    """Return by what the held keys of a target were made (`Order.keys_by`). Raise as `is_left` does."""
    found = client.command("GET", client.keys.order_by(target))
    return None if found is None else raw(found).decode("utf-8", "backslashreplace")


def held_by_others(client: Client, target: str, queues: Sequence[str]) -> list[str]:
    """Return the queues with jobs whose keys are held, though this target holds none. Raise as `is_left` does.

    Under fairness each key with jobs has its turn; under order a held one has none.
    """
    keys, of_each = client.keys, 4
    commands: list[tuple[str, ...]] = [("EXISTS", keys.order_hold(target))]
    for queue in queues:
        records = keys.line_records(queue)
        commands += [("HLEN", records), ("HEXISTS", records, "\0v"), ("ZCARD", keys.line_finish_times(queue))]
        commands.append(("EXISTS", keys.order_due(queue)))
    own, *numbers = map(integer, client.transaction(commands))
    found = [numbers[at : at + of_each] for at in range(0, len(numbers), of_each)]
    return [
        queue
        for queue, (records, is_fair, turns, due) in zip(queues, found, strict=True)
        if not own and (due or records - is_fair > turns)
    ]
