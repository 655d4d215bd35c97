"""What happens, as figures for Prometheus; and the headers that every answer has."""

from __future__ import annotations

from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class ServiceMetrics:
    """What is counted, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "higherhrnet_requests",
            "Requests answered; 499: the client had left.",
            ("path", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "higherhrnet_request_seconds",
            "From a request's headers to its answer.",
            ("path",),
            registry=self.registry,
        )
        self.under_way = Gauge(
            "higherhrnet_photographs_under_way",
            "Photographs that wait or are worked on.",
            registry=self.registry,
        )
        self.batches = Histogram(
            "higherhrnet_batch_photographs",
            "Photographs that the network was given together.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )
        self.network = Histogram(
            "higherhrnet_network_seconds", "Of a batch in the network.", registry=self.registry
        )
        self.people = Counter("higherhrnet_people", "People found.", registry=self.registry)


class MetricsMiddleware:
    """Counts requests and adds `HEADERS`; wraps an ASGI application."""

    def __init__(self, app: ASGIApp, figures: ServiceMetrics) -> None:
        self.app, self.figures = app, figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, status = perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = ((name.encode(), value.encode()) for name, value in HEADERS.items())
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            path = scope["route"].path if "route" in scope else "other"  # else clients name series
            self.figures.requests.labels(path, status).inc()
            self.figures.seconds.labels(path).observe(perf_counter() - start)
