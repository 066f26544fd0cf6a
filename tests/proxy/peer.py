"""A backend that says its name and whom it sees, and a client that counts the names. Runs inside a sandbox.

peer.py serve NAME PORT [ADDRESS]  TCP and UDP; prints "ready"
peer.py ask tcp|udp ADDRESS PORT COUNT
peer.py hold ADDRESS PORT COUNT   prints how many of the connections each backend has, and keeps them
peer.py stick ADDRESS PORT         one UDP socket; each line on stdin sends once and prints the answer
"""

import json
import socket
import sys
import threading
from collections import Counter
from contextlib import suppress


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(name: str, port: int, address: str = "0.0.0.0") -> None:
    stream = socket.create_server((address, port), family=family(address), backlog=512)
    datagrams = socket.socket(family(address), socket.SOCK_DGRAM)
    datagrams.bind((address, port))

    def echo() -> None:
        while True:
            _, peer = datagrams.recvfrom(2048)
            datagrams.sendto(f"{name} {peer[0]}".encode(), peer)

    threading.Thread(target=echo, daemon=True).start()
    print("ready", flush=True)
    while True:
        connection, peer = stream.accept()
        threading.Thread(target=greet, args=(connection, f"{name} {peer[0]}"), daemon=True).start()


def greet(connection: socket.socket, text: str) -> None:
    """Say who is there, and stay until the client has enough."""
    with connection:
        connection.sendall(text.encode())
        connection.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            connection.recv(1)


def hold(address: str, port: int, count: int) -> None:
    """Keep connections open; print how many each backend has."""
    kept = [socket.create_connection((address, port), 5) for _ in range(count)]
    print(json.dumps(Counter(one.recv(2048).decode().split()[0] for one in kept)), flush=True)
    sys.stdin.read()


def ask(protocol: str, address: str, port: int) -> str:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family(address), kind) as client:
        client.settimeout(1.0)
        try:
            client.connect((address, port))
            if protocol == "udp":
                client.send(b"?")
            return client.recv(2048).decode() or "closed"
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "timeout"


def stick(address: str, port: int) -> None:
    with socket.socket(family(address), socket.SOCK_DGRAM) as client:
        client.settimeout(1.0)
        client.connect((address, port))
        for _ in sys.stdin:
            try:
                client.send(b"?")
                answer = client.recv(2048).decode()
            except ConnectionRefusedError:
                answer = "refused"
            except TimeoutError:
                answer = "timeout"
            print(answer, flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", name, port, *address]:
            serve(name, int(port), *address)
        case ["ask", protocol, address, port, count]:
            print(json.dumps(Counter(ask(protocol, address, int(port)) for _ in range(int(count)))))
        case ["hold", address, port, count]:
            hold(address, int(port), int(count))
        case ["stick", address, port]:
            stick(address, int(port))
