"""The Redis protocol over a plain socket, with the bytes of every reply kept as they came.

A client library would hide what is compared here: which of `$-1` and `_` came, in which letters an error is
written. So a reply is its bytes; `decoded` reads them for the few places where bytes may legitimately differ.
"""

import socket

PATIENCE_SECONDS = 10
LINE_KINDS = b"+-:_#,("
BULK_KINDS = b"$=!"
AGGREGATE_KINDS = b"*~>%"


class Closed(Exception):
    """The server closed, or was silent for too long."""


def encoded(words):
    """A request as clients send it: an array of bulk strings."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        parts.append(b"$%d\r\n%b\r\n" % (len(word), word))
    return b"".join(parts)


def inline(words):
    """The same request as a person types it, quoted where need be."""
    return b" ".join(word if plain(word) else quoted(word) for word in words) + b"\r\n"


def plain(word):
    return bool(word) and all(33 <= byte <= 126 and byte not in b"\"'\\" for byte in word)


def quoted(word):
    safe = (chr(byte) if 32 <= byte <= 126 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in word)
    return b'"' + "".join(safe).encode() + b'"'


class Wire:
    """One connection: bytes go out, whole replies come in."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = bytearray()
        self.start = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Closed(str(error)) from None

    def reply(self):
        """The bytes of the next reply."""
        end = self.end_of_reply(self.start)
        reply = bytes(self.received[self.start : end])
        self.start = end
        if self.start == len(self.received):
            self.received.clear()
            self.start = 0
        return reply

    def ask(self, *words):
        """The bytes of the reply to one request of text or bytes."""
        self.send(encoded([word if isinstance(word, bytes) else str(word).encode() for word in words]))
        return self.reply()

    def until_closed(self):
        """Everything that comes until the server closes."""
        try:
            while True:
                self.receive()
        except Closed as closed:
            rest = bytes(self.received[self.start :])
            return rest + (b"" if str(closed) == "closed" else b"(and did not close)")

    def end_of_reply(self, start):
        line_end = self.line_end(start)
        kind, text = self.received[start], bytes(self.received[start + 1 : line_end - 2])
        if kind in LINE_KINDS:
            return line_end
        if kind in BULK_KINDS:
            if text == b"-1":
                return line_end
            end = line_end + int(text) + 2
            while len(self.received) < end:
                self.receive()
            return end
        if kind in AGGREGATE_KINDS:
            for _ in range(max(int(text), 0) * (2 if kind == ord("%") else 1)):
                line_end = self.end_of_reply(line_end)
            return line_end
        raise Closed(f"no reply begins with {bytes(self.received[start : start + 40])!r}")

    def line_end(self, start):
        searched = start
        while (found := self.received.find(b"\r\n", searched)) < 0:
            searched = max(start, len(self.received) - 1)
            self.receive()
        return found + 2

    def receive(self):
        try:
            chunk = self.socket.recv(1 << 18)
        except TimeoutError:
            raise Closed(f"silent for {PATIENCE_SECONDS} s") from None
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            raise Closed("closed")
        self.received += chunk


class Error(bytes):
    """An error reply, told apart from a string of the same letters."""


def decoded(reply):
    """A reply as a value: bytes, int, None, list; a map as a list of pairs; an Error."""
    value, end = decoded_at(reply, 0)
    assert end == len(reply), reply
    return value


def decoded_at(reply, start):
    line_end = reply.index(b"\r\n", start) + 2
    kind, text = chr(reply[start]), reply[start + 1 : line_end - 2]
    if kind in "+,(#":
        return text, line_end
    if kind == "-":
        return Error(text), line_end
    if kind == ":":
        return int(text), line_end
    if kind == "_" or text == b"-1":
        return None, line_end
    if kind in "$=!":
        end = line_end + int(text)
        # A verbatim string says its format first: txt and a colon.
        return reply[line_end + (4 if kind == "=" else 0) : end], end + 2
    values = []
    for _ in range(int(text) * (2 if kind == "%" else 1)):
        value, line_end = decoded_at(reply, line_end)
        values.append(value)
    return (list(zip(values[::2], values[1::2])) if kind == "%" else values), line_end
