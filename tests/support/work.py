"""The service of the load tests: says who and which version it is, after as much work as it is asked for.

GET /?work_ms=250          answers after a quarter of a second
GET /?download_ms=30000    sends a long answer evenly over half a minute
POST /                     answers when the whole body is there

Told to end (TERM) it says `Connection: close` in every answer, finishes what it has, and takes no more. With
`AT_TERM=end` it just ends, as most programs do.
"""
import asyncio
import os
import signal
import sys
import urllib.parse

HOST = os.environ.get("HOST", "127.0.0.1")
PORT = int(os.environ.get("PORT", "8081"))
VERSION = os.environ.get("VERSION", "none")
PAGE = f"I am: {HOST}, the version is: {VERSION}\n".encode()
# A connection that is silent for so long when the service is to end gets no more requests.
SILENCE_S = 0.5
DOWNLOAD_PARTS = 100
DOWNLOAD_PART = b"." * 1024

connections = set()
ending = None


class Connection(asyncio.Protocol):
    """One connection, which asks one thing after another."""

    def connection_made(self, transport):
        self.transport, self.received, self.answering, self.wanted = transport, b"", None, 0
        connections.add(self)

    def connection_lost(self, _):
        connections.discard(self)
        if self.answering:
            self.answering.cancel()
        end_when_done()

    def data_received(self, data):
        self.received += data
        self.go_on()

    def is_busy(self):
        return bool(self.answering or self.received)

    def go_on(self):
        """Begins the next answer, if the whole question is there."""
        head, found, rest = self.received.partition(b"\r\n\r\n")
        if self.answering or not found:
            return
        lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        body = int(fields.get("content-length", 0))
        if len(rest) < body:
            return
        self.received = rest[body:]
        method, target, protocol = lines[0].split(" ")
        self.is_last = fields.get("connection") == "close" or protocol == "HTTP/1.0"
        asked = {key: int(values[0]) for key, values in urllib.parse.parse_qs(target.partition("?")[2]).items()}
        if "download_ms" in asked:
            self.answering = loop.create_task(self.download(asked["download_ms"] / 1000))
        elif asked.get("work_ms"):
            self.answering = loop.call_later(asked["work_ms"] / 1000, self.answer)
        else:
            self.answer()

    async def download(self, seconds):
        self.begin_answer(DOWNLOAD_PARTS * len(DOWNLOAD_PART))
        for _ in range(DOWNLOAD_PARTS):
            await asyncio.sleep(seconds / DOWNLOAD_PARTS)
            self.transport.write(DOWNLOAD_PART)
        self.end_answer()

    def answer(self):
        self.begin_answer(len(PAGE), PAGE)
        self.end_answer()

    def begin_answer(self, length, body=b""):
        self.is_last = self.is_last or bool(ending)
        connection = "close" if self.is_last else "keep-alive"
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n"
        self.transport.write(head.encode() + body)

    def end_answer(self):
        self.answering = None
        if self.is_last:
            self.transport.close()
        else:
            self.go_on()


def end():
    global ending
    if ending:
        return
    ending = loop.create_task(end_silent_ones())


async def end_silent_ones():
    # Whoever has connected is answered, and whoever is about to ask is told not to ask here again.
    await asyncio.sleep(SILENCE_S)
    server.close()
    for connection in list(connections):
        if not connection.is_busy():
            connection.transport.close()
    end_when_done()


def end_when_done():
    if ending and not server.is_serving() and not connections:
        loop.stop()


loop = asyncio.new_event_loop()
server = loop.run_until_complete(loop.create_server(Connection, HOST, PORT, backlog=512))
if os.environ.get("AT_TERM") != "end":
    loop.add_signal_handler(signal.SIGTERM, end)
print(f"work {VERSION} serves on {HOST}:{PORT}", file=sys.stderr, flush=True)
loop.run_forever()
