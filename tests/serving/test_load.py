"""More clients than there is room for; clients that leave; a service that is told to stop."""

import http.client
import json
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest

from tests.serving.conftest import PNG, SCENE, Reply, Service, serving

UNDER_WAY = "higherhrnet_photographs_under_way"
SEEN = "higherhrnet_batch_photographs_sum"
SLOW = ("--size", 256, "--flip", "--batch", 1)
"""So that there is time to look while the network works."""


def leave_unread(service: Service) -> socket.socket:
    """Sends a whole request and does not wait for the answer."""
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=60)
    kind = "Host: x\r\nContent-Type: image/png"
    head = f"POST /poses HTTP/1.1\r\n{kind}\r\nContent-Length: {len(SCENE)}\r\n\r\n"
    connection.sendall(head.encode() + SCENE)
    return connection


def read_answer(connection: socket.socket) -> tuple[int, dict[str, object]]:
    with connection, http.client.HTTPResponse(connection) as reply:
        reply.begin()
        return reply.status, json.loads(reply.read())


def test_past_the_queue_clients_are_sent_away_at_once() -> None:
    with serving("--size", 512, "--flip", "--batch", 1, "--queue", 2) as service:
        waiting = [leave_unread(service) for _ in range(2)]
        service.wait_for(UNDER_WAY, 2)
        assert service.ask("GET", "/ready").status == 503
        with ThreadPoolExecutor(8) as pool:
            refused = [pool.submit(service.post, "/poses") for _ in range(8)]
            for reply in as_completed(refused):
                assert reply.result().status == 503
                assert 1 <= int(reply.result().headers["retry-after"]) <= 30
        assert service.figure(UNDER_WAY) > 0  # all were refused before one of the two was done
        assert [read_answer(connection)[0] for connection in waiting] == [200, 200]
        assert service.post("/poses").status == 200


def test_who_leaves_costs_the_network_nothing() -> None:
    with serving(*SLOW) as service:
        leaving = [leave_unread(service) for _ in range(20)]
        service.wait_for(UNDER_WAY, 20)
        for connection in leaving:
            connection.close()
        service.wait_for(UNDER_WAY, 0)
        assert service.post("/poses").status == 200  # after whatever the network still had
        assert service.figure(SEEN) <= 5
        assert service.figure('higherhrnet_requests_total{path="/poses",status="499"}') > 15


def test_time_has_an_end() -> None:
    with serving("--size", 512, "--flip", "--batch", 1, "--timeout", 1) as service:
        with ThreadPoolExecutor(12) as pool:
            replies = list(pool.map(service.post, ["/poses"] * 12))
        late = [reply for reply in replies if reply.status == 503]
        assert late and all("not done within 1 second" in reply.json["detail"] for reply in late)


def test_what_was_accepted_is_finished_before_the_end() -> None:
    with serving(*SLOW) as service:
        waiting = [leave_unread(service) for _ in range(8)]
        service.wait_for(UNDER_WAY, 8)
        service.process.send_signal(signal.SIGTERM)
        for status, answer in map(read_answer, waiting):
            assert status == 200 and answer["images"]
        assert service.process.wait(30) == 0
        with pytest.raises(ConnectionRefusedError):
            service.post("/poses")


def test_a_kill_during_load_loses_nothing() -> None:
    """Each client has whole answers until it finds the door closed."""
    with serving() as service:
        answered: list[Reply] = []
        half = threading.Event()

        def client(_: int) -> None:
            while True:
                try:
                    answered.append(service.post("/poses"))
                except (ConnectionError, http.client.RemoteDisconnected):
                    return  # refused before anything was said; what is cut raises others
                if len(answered) > 20:
                    half.set()

        with ThreadPoolExecutor(12) as pool:
            clients = pool.map(client, range(12))
            assert half.wait(60)
            service.process.send_signal(signal.SIGTERM)
            list(clients)
        assert service.process.wait(30) == 0
        assert {reply.status for reply in answered} == {200}
        assert all(len(reply.json["annotations"]) == 3 for reply in answered)


@pytest.mark.slow
def test_ten_thousand_quick_requests(service: Service) -> None:
    """Each has its answer, and memory and figures are as they should be."""

    def client(_: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        for i in range(1000):
            body = SCENE if i % 100 == 0 else b"no photograph"
            connection.request("POST", "/poses", body, PNG)
            reply = connection.getresponse()
            reply.read()
            assert reply.status == (200 if i % 100 == 0 else 415)
        return 1000

    seen = service.figure(SEEN)
    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(client, range(10))) == 10_000
    assert service.figure(SEEN) == seen + 100
    assert service.figure(UNDER_WAY) == 0
