"""A process that has no others to agree with about probes."""

from restbroker.store.probing import ProbeClaim, ProbeGranted


class Nobody:
    """`Others` of a prober that is the only one."""

    async def turn(self) -> ProbeClaim:
        return ProbeGranted()

    async def tell(self, text: bytes, counts_s: float) -> None:
        pass

    async def pause(self, why: str, for_s: float) -> None:
        pass

    async def resume(self, why: str) -> None:
        pass
