"""A process that has no others to agree with about probes."""

from restbroker.store.probing import ProbeClaim, ProbeGranted


class Nobody:
    """`Others` of a prober that is the only one."""

    async def claim(self) -> ProbeClaim:
        return ProbeGranted()

    async def publish(self, text: bytes, counts_s: float) -> None:
        pass

    async def pause(self, why: str, for_s: float) -> None:
        pass

    async def resume(self, why: str) -> None:
        pass

    async def paused_for_s(self) -> float | None:
        return None
