"""A page with its host and version, or one that misbehaves as its release defines."""
import os
import signal
import socket
import sys
import time

HOST, PORT, VERSION, GATE = (os.environ[name] for name in ("HOST", "PORT", "VERSION", "GATE"))
PAGE = f"I am: {HOST}, the version is: {VERSION}\n"

with open("behaviour", encoding="utf-8") as file:
    BEHAVIOUR = file.read().strip()


def gate_is_open():
    return os.path.exists(GATE)


requests = 0


def is_twentieth(request):
    """Whether it is every twentieth request that is not from ship."""
    global requests
    requests += b"ship/" not in request
    return requests % 20 == 19


def reply(request):
    if BEHAVIOUR == "leaky" and is_twentieth(request):
        return "500 Internal Server Error", "the frobnicator leaks\n"
    if BEHAVIOUR == "wrong" or (BEHAVIOUR == "gated" and not gate_is_open()):
        return "500 Internal Server Error", "the frobnicator is on fire\n"
    return "200 OK", PAGE


def answer(client):
    with client:
        client.settimeout(2)
        try:
            status, body = reply(client.recv(4096))
            client.sendall(f"HTTP/1.0 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        except OSError:
            pass  # the client has disconnected


print(f"page {VERSION} starts, its behaviour is {BEHAVIOUR}", flush=True)
if BEHAVIOUR == "exits" or BEHAVIOUR == ("fragile" if gate_is_open() else "needy"):
    print("fatal: the frobnicator is missing", flush=True)
    sys.exit(7)
if BEHAVIOUR == "deaf":
    print("waiting for a database that never comes", flush=True)
    time.sleep(3600)

is_ending = False


def end(*_):
    global is_ending
    is_ending = True


signal.signal(signal.SIGTERM, end)
with socket.create_server((HOST, int(PORT)), backlog=128) as server:
    server.settimeout(0.02)
    while not is_ending or (BEHAVIOUR == "lingers" and not gate_is_open()):
        try:
            answer(server.accept()[0])
        except TimeoutError:
            pass
    # Connections in the queue are still answered.
    server.settimeout(0)
    try:
        while True:
            answer(server.accept()[0])
    except BlockingIOError:
        pass
