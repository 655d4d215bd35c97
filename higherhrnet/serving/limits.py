"""What a service takes on, so that neither many clients nor hostile ones bring it down."""

from __future__ import annotations

from dataclasses import dataclass

from higherhrnet.errors import require


@dataclass(frozen=True)
class ServingLimits:
    """What a service takes on."""

    queue: int = 32
    """Photographs that wait or are worked on at one time; further ones are refused at once."""
    batch: int = 4
    """Photographs that the network is given together, at most."""
    max_megabytes: float = 20.0
    """Of a request, in millions of bytes."""
    max_megapixels: float = 50.0
    """Of a photograph."""
    max_network_megapixels: float = 3.0
    """Of a photograph as the network sees it, at all scales together: long strips have many."""
    timeout: float = 30.0
    """Seconds for a request to arrive, again for its answer, and that a connection may be idle."""
    connections: int = 100
    """Open at one time; whoever asks on a further one is refused."""

    def __post_init__(self) -> None:
        for name in ("queue", "batch", "connections"):
            require(getattr(self, name) >= 1, f"--{name} must be at least 1")
        for name in ("max_megabytes", "max_megapixels", "max_network_megapixels", "timeout"):
            flag = name.replace("_", "-")
            require(0 < getattr(self, name) < 1e6, f"--{flag} must be above 0 and below a million")

    @property
    def max_bytes(self) -> int:
        """Of a request."""
        return int(self.max_megabytes * 1e6)

    @property
    def max_pixels(self) -> int:
        """Of a photograph."""
        return int(self.max_megapixels * 1e6)

    @property
    def max_network_pixels(self) -> int:
        """Of a photograph as the network sees it."""
        return int(self.max_network_megapixels * 1e6)
