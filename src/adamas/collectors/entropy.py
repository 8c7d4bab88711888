"""The kernel's random numbers: entropy that is available, and how much its pool holds, in bits.

From /proc/sys/kernel/random (random(4)). Since Linux 5.18 the pool is full, with 256 bits, once the kernel is initialized.
"""

from collections.abc import Iterator

from adamas import Collector, Gauge, Raw, Sample

RANDOM = "/proc/sys/kernel/random"
AVAILABLE, POOL = f"{RANDOM}/entropy_avail", f"{RANDOM}/poolsize"


class Entropy(Collector):
    """How much entropy the kernel's random number generator has."""

    name = "entropy"
    diamond = "EntropyStatCollector"
    needs = (AVAILABLE,)

    available = Gauge(
        "available", "Entropy that is available", unit="bit", diamond=Raw(), prometheus="node_entropy_available_bits"
    )
    pool_size = Gauge(
        "pool_size", "Entropy that the pool can hold", unit="bit", diamond=None, prometheus="node_entropy_pool_size_bits"
    )

    def collect(self) -> Iterator[Sample]:
        yield self.available(bits(AVAILABLE, self.host.read(AVAILABLE)))
        if text := self.host.read(POOL, ""):
            yield self.pool_size(bits(POOL, text))


def bits(path: str, text: str) -> int:
    """The number that a file holds."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{path} is not a number: {text[:60]!r}") from None
