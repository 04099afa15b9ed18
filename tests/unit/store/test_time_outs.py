"""How long a request of a dead process may take, from what its record says: never less than its connector gave it."""

import pytest

from restbroker.kinds import TARGETS
from restbroker.servers import registry
from restbroker.store.identities import Registration
from tests.store.pools import FACTS

LEAST_S = 10.0


@pytest.mark.parametrize("kind", TARGETS)
def test_no_spelling_of_a_command_hides_that_it_may_take_longer(kind: str) -> None:
    catalogue = registry.catalogue(kind)
    own_s = {name: spec.timeout_s or LEAST_S for name, spec in catalogue.commands.items()}
    record = Registration(FACTS, (), None, None, time_outs_s={"": LEAST_S, **own_s})
    for name in own_s:
        for endpoint in (name, name.replace(".", "/"), f"{name}/v2"):
            if (meant := catalogue.name_in(endpoint)) in own_s:
                assert record.time_out_of_s(endpoint) >= own_s[meant], endpoint
