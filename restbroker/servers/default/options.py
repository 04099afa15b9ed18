"""The options of a kind that takes none."""

import attrs


@attrs.frozen
class Options:
    """Nothing is written under `Options`."""
