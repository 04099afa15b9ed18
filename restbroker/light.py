"""`light`: as `attrs.frozen`, for what is made once or more for every job.

Always holds: mypy lets nobody change one, as if it were frozen. While it runs nothing checks that: attrs makes a frozen
class write each field through `object.__setattr__`, which costs four times as much (measured: 0.5 µs for seven fields,
and 60 fields a job).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attrs import frozen as light
else:
    import functools

    import attrs

    light = functools.partial(attrs.define, unsafe_hash=True)

__all__ = ["light"]
