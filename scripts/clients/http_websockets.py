"""Python's websockets: texts, bytes, pings, fragments, limits and the closing handshake."""

import sys

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from _server import run
from _stand import Stand

WAIT_SECONDS_MAX = 30


def talk(stand, **more):
    return connect(f"{stand.socket}/socket", open_timeout=WAIT_SECONDS_MAX, compression=None, **more)


def heard(socket):
    return socket.recv(timeout=WAIT_SECONDS_MAX)


def test_what_is_said_comes_back():
    with Stand() as stand, talk(stand) as socket:
        for text in ["hello", "", "€ and ä", "x" * 1000]:
            socket.send(text)
            assert heard(socket) == text
        socket.send(bytes(range(256)))
        assert heard(socket) == bytes(range(256))


def test_fragments_are_one_message():
    with Stand() as stand, talk(stand) as socket:
        socket.send(["he", "ll", "o"])
        assert heard(socket) == "hello"


def test_pings_are_answered():
    with Stand() as stand, talk(stand) as socket:
        assert socket.ping(b"are you there").wait(WAIT_SECONDS_MAX)


def test_who_is_there_is_not_cut_for_being_silent():
    with Stand() as stand, talk(stand) as socket:
        # The stand asks every 1.5 s; the library answers beside us.
        try:
            socket.recv(timeout=4)
        except TimeoutError:
            pass
        socket.send("still here")
        assert heard(socket) == "still here"


def test_compression_is_declined():
    with Stand() as stand, connect(f"{stand.socket}/socket", open_timeout=WAIT_SECONDS_MAX) as socket:
        socket.send("plain")
        assert heard(socket) == "plain"


def closed(socket):
    """The code with which they closed."""
    try:
        heard(socket)
    except ConnectionClosed as end:
        return end.rcvd.code if end.rcvd else None
    raise AssertionError("it is not closed")


def test_closes_say_why():
    with Stand() as stand:
        with talk(stand) as socket:
            socket.close(1000)
            assert closed(socket) == 1000
        with talk(stand) as socket:
            socket.send("x" * 1001)
            assert closed(socket) == 1009


def test_a_server_that_ends_says_so():
    with Stand() as stand:
        socket = talk(stand)
        stand.process.terminate()
        assert closed(socket) == 1001


def test_handshakes_that_are_refused():
    with Stand() as stand:
        for address, more, status in [
            ("/shy", {}, 403),
            ("/socket", {"origin": "http://elsewhere"}, 403),
            ("/nothing", {}, 404),
            ("/", {}, 200),
        ]:
            try:
                connect(f"{stand.socket}{address}", open_timeout=WAIT_SECONDS_MAX, **more)
            except InvalidStatus as refused:
                assert refused.response.status_code == status, (address, refused.response.status_code)
            else:
                raise AssertionError(f"{address} was granted")


def test_many_sockets_at_once():
    with Stand() as stand:
        sockets = [talk(stand) for _ in range(100)]
        for number, socket in enumerate(sockets):
            socket.send(str(number))
        assert [heard(socket) for socket in sockets] == [str(number) for number in range(100)]
        for socket in sockets:
            socket.close()


if __name__ == "__main__":
    run(sys.modules[__name__])
