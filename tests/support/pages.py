"""Asks a process of this machine for one of its pages, over plain HTTP, as often as one likes.

Used by tests that watch `/readyz` while something happens. Always holds: no certificates are read, as httpx does it
for each client by itself; that took 28 ms of CPU, more than what is watched.
"""

import ssl
from collections.abc import Mapping
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

_NONE: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def page(port: int, path: str) -> httpx.Response:
    """The answer of 127.0.0.1; raises httpx.TransportError where there is none."""
    return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, verify=_NONE)


def metrics(port: int, name: str, label: str = "") -> Mapping[str, float]:
    """The samples of this name that /metrics has, by their value of `label`; of equal ones the last."""
    families = text_string_to_metric_families(page(port, "/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return {sample.labels.get(label, ""): sample.value for sample in samples}
