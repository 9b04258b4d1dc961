"""Asks the broker's port and its ZooKeeper in their own protocols, in one request: python3 wire.py < request.json.

Runs in a container's network (nsenter), on this machine's Python: what is tried is the network and the server, and the images
needn't hold tools for it.
"""

import json
import socket
import struct
import sys

CONNECT, SUBSCRIBE, PRODUCER = 2, 4, 5
# Types of answers (PulsarApi.proto).
ANSWERS = {3: "connected", 13: "success", 14: "error", 17: "producer"}


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: int | str | bytes) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def command(kind: int, *fields: bytes) -> bytes:
    body = field(1, kind) + field(kind, b"".join(fields))
    return struct.pack(">II", len(body) + 4, len(body)) + body


def exactly(stream: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = stream.recv(length - len(data))
        if not part:
            raise ConnectionError("closed")
        data += part
    return data


def answer(stream: socket.socket) -> str:
    """What the broker says first that isn't a ping: its kind, or the whole text of an error."""
    while True:
        body = exactly(stream, struct.unpack(">I", exactly(stream, 4))[0])[4:]
        kind = body[1]
        if kind == 18:  # ping
            continue
        text = body.decode(errors="replace") if kind == 14 else ""
        return f"{ANSWERS.get(kind, kind)} {''.join(c for c in text if c.isprintable())}".strip()


def pulsar(host: str, token: str | None, doing: str, topic: str) -> str:
    """Connects, with a token or without, and asks for a consumer or a producer of one partition."""
    asks = {
        "consume": command(
            SUBSCRIBE, field(1, topic), field(2, "probe"), field(3, 0), field(4, 1), field(5, 1), field(8, 0)
        ),
        "produce": command(PRODUCER, field(1, topic), field(2, 1), field(3, 1)),
    }
    login = [] if token is None else [field(5, "token"), field(3, token)]
    with socket.create_connection((host, 6650), 10) as stream:
        stream.sendall(command(CONNECT, field(1, "probe"), field(4, 19), *login))
        said = answer(stream)
        if said != "connected":
            return f"refused: {said}"
        stream.sendall(asks[doing])
        return answer(stream)


def zookeeper(host: str) -> str:
    """Opens a session as nobody and lists the root."""
    with socket.create_connection((host, 2181), 10) as stream:
        stream.sendall(struct.pack(">iiqiqi", 44, 0, 0, 10000, 0, 16) + bytes(16))
        exactly(stream, struct.unpack(">i", exactly(stream, 4))[0])
        stream.sendall(struct.pack(">iiii", 14, 1, 8, 1) + b"/\0")
        data = exactly(stream, struct.unpack(">i", exactly(stream, 4))[0])
        return f"code {struct.unpack('>iqi', data[:16])[2]}"


def main() -> None:
    request = json.load(sys.stdin)
    try:
        print({"pulsar": pulsar, "zookeeper": zookeeper}[request.pop("what")](**request))
    except OSError as error:
        print(f"refused: {error}")


if __name__ == "__main__":
    main()
