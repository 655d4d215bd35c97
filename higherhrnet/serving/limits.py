"""Limits that protect the HTTP service from overload and from hostile requests."""

from __future__ import annotations

from dataclasses import dataclass

from higherhrnet.errors import require


@dataclass(frozen=True)
class ServingLimits:
    """Limits of the HTTP service."""

    max_queue: int = 32
    """Maximum number of images that are waiting or in progress. Further requests are
    rejected immediately with status 503 and a Retry-After header."""
    batch_size: int = 4
    """Maximum number of images in one batch of the network. Images of several requests share a
    batch."""
    max_megabytes: float = 20.0
    """Maximum size of a request in millions of bytes. A larger one receives status 413."""
    max_megapixels: float = 50.0
    """Maximum size of an image in millions of pixels. A larger one receives status 422."""
    max_network_megapixels: float = 3.0
    """Maximum size of an image in millions of pixels after it has been resized for the network,
    summed over --scales; flipped views are not counted. Long, narrow images reach it first, because
    --size is the length of the shorter side. A larger one receives status 422."""
    timeout: float = 30.0
    """Time limit in seconds for receiving a request (else status 408) and for answering it (else
    status 503). Idle connections are closed after the same time."""
    max_connections: int = 100
    """Maximum number of open connections. A request on a further connection receives status
    503."""

    def __post_init__(self) -> None:
        for name in ("max_queue", "batch_size", "max_connections"):
            flag, value = name.replace("_", "-"), getattr(self, name)
            require(value >= 1, f"--{flag} must be at least 1, not {value}")
        for name in ("max_megabytes", "max_megapixels", "max_network_megapixels", "timeout"):
            flag, value = name.replace("_", "-"), getattr(self, name)
            require(0 < value < 1e6, f"--{flag} must be between 0 and 1000000, not {value}")

    @property
    def max_bytes(self) -> int:
        """The maximum size of a request in bytes."""
        return int(self.max_megabytes * 1e6)

    @property
    def max_pixels(self) -> int:
        """The maximum number of pixels of an image."""
        return int(self.max_megapixels * 1e6)

    @property
    def max_network_pixels(self) -> int:
        """The maximum number of pixels of an image that is resized for the network."""
        return int(self.max_network_megapixels * 1e6)
