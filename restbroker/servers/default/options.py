"""The options of a kind that takes none."""

import attrs


@attrs.frozen
class Options:
    """No options: nothing is written under `Options`."""
