"""How redis-py reads answers here: told not to wait, it gives way after 256 KiB. Used by `settings` only.

Its own reader goes on as long as something is there: an answer of a hundred large jobs would hold Trio's loop until all
of it has come. Always holds: what is read before it gives way is kept, and the next read goes on behind it.
"""

from redis.connection import DefaultParser
from redis.exceptions import TimeoutError as NotInTime

_READS = 4
"""Of 64 KiB each."""


class GivingWay(DefaultParser):  # type: ignore[misc, valid-type]  # redis-py chooses it when it is imported
    """hiredis' reader: redis-py takes a class."""

    _left: int = _READS

    def read_response(self, *args: object, **how: object) -> object:
        """One answer, as far as it is there."""
        self._left = _READS
        return super().read_response(*args, **how)

    def read_from_socket(self, *args: object, **how: object) -> object:
        """One piece of it."""
        self._left -= 1
        if self._left < 0 and how.get("timeout") == 0:
            raise NotInTime("There is more.")
        return super().read_from_socket(*args, **how)
