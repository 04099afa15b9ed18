"""An argument in a path: it stays one segment, whatever it says."""

import pytest

from restbroker.servers.api.arguments import InvalidArguments
from restbroker.servers.api.request import segment


def test_an_argument_is_one_segment_of_a_path_or_refused_where_it_would_lead_to_another() -> None:
    assert [segment("name", text) for text in ("ann", "a/b", "../x", "é ?#%")] == [
        "ann",
        "a%2Fb",
        "..%2Fx",
        "%C3%A9%20%3F%23%25",
    ]
    for text in ("", ".", ".."):
        with pytest.raises(InvalidArguments, match="name"):
            segment("name", text)
