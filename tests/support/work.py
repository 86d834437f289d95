"""The service of the load tests: serves its host and version, after the work that the request asks for.

GET /?work_ms=250          answers after a quarter of a second
GET /?download_ms=30000    sends a long response evenly over half a minute
POST /                     answers when the whole body has arrived

After SIGTERM it sends `Connection: close` in every response, finishes its requests and accepts no more. With
`AT_TERM=end` it exits at once, as most programs do.
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
# A connection that is idle for this long while the service ends gets no more requests.
IDLE_S = 0.5
DOWNLOAD_PARTS = 100
DOWNLOAD_PART = b"." * 1024

connections = set()
ending = None


class Connection(asyncio.Protocol):
    """A connection with one request after the other."""

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
        self.answer_next()

    def is_busy(self):
        return bool(self.answering or self.received)

    def answer_next(self):
        """Starts the next answer, if the request is complete."""
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
        parameters = {key: int(values[0]) for key, values in urllib.parse.parse_qs(target.partition("?")[2]).items()}
        if "download_ms" in parameters:
            self.answering = loop.create_task(self.download(parameters["download_ms"] / 1000))
        elif parameters.get("work_ms"):
            self.answering = loop.call_later(parameters["work_ms"] / 1000, self.answer)
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
            self.answer_next()


def end():
    global ending
    if ending:
        return
    ending = loop.create_task(close_idle_connections())


async def close_idle_connections():
    # Answer clients that have connected; tell those about to send a request not to reuse the connection.
    await asyncio.sleep(IDLE_S)
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
