"""Prometheus metrics of the HTTP service, and the middleware that counts requests."""

from __future__ import annotations

from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class ServiceMetrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, CPU time and open files, on Linux
        self.requests = Counter(
            "higherhrnet_requests",
            "Number of HTTP requests; status 499 means that the client disconnected.",
            ("path", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "higherhrnet_request_duration_seconds",
            "Time from the headers of a request to the end of its response.",
            ("path",),
            registry=self.registry,
        )
        self.in_progress = Gauge(
            "higherhrnet_images_in_progress",
            "Number of images that are waiting or in progress.",
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "higherhrnet_batch_size",
            "Number of images in a batch of the network.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )
        self.network_seconds = Histogram(
            "higherhrnet_network_duration_seconds",
            "Time that the network takes for a batch.",
            registry=self.registry,
        )
        self.people = Counter(
            "higherhrnet_people", "Number of people found.", registry=self.registry
        )


class MetricsMiddleware:
    """ASGI middleware that counts requests and adds the security headers to every response."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request to the application."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, status = perf_counter(), 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = (
                    (name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()
                )
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            # unknown paths share one label: otherwise clients could create any number of series
            path = scope["route"].path if "route" in scope else "other"
            self.metrics.requests.labels(path, status).inc()
            self.metrics.request_seconds.labels(path).observe(perf_counter() - start)
