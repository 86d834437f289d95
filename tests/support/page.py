"""The service of the fleet tests: serves its host and version, or misbehaves as its artifact defines."""
import http.server
import os
import signal
import sys
import threading
import time

HOST = os.environ.get("HOST", "127.0.0.1")
PORT = int(os.environ.get("PORT", "8081"))
VERSION = os.environ.get("VERSION", "none")
# Distinguishes this process from an earlier one with the same page.
PROCESS = f", this is: {os.getpid()}-{time.time_ns()}" if os.environ.get("SHOW_PROCESS") == "yes" else ""
PAGE = f"I am: {HOST}, the version is: {VERSION}{PROCESS}\n".encode()

try:
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "behaviour")) as behaviour:
        BEHAVIOUR = behaviour.read().strip()
except FileNotFoundError:
    BEHAVIOUR = "good"

print(f"page {VERSION} starts, its behaviour is {BEHAVIOUR}", file=sys.stderr, flush=True)
if BEHAVIOUR in ("chatty", "chatty-exits"):
    # Enough lines in a second for a journal with a rate limit to drop the rest.
    for number in range(2000):
        print(f"debug: module {number} is loaded", file=sys.stderr)
    print("the newest line", file=sys.stderr, flush=True)
if BEHAVIOUR == "chatty-exits":
    print("fatal: DATABASE_URL is not set", file=sys.stderr, flush=True)
    sys.exit(3)
if BEHAVIOUR == "exits":
    print("fatal: the frobnicator is missing", file=sys.stderr, flush=True)
    sys.exit(7)
if BEHAVIOUR == "late":
    time.sleep(3)
if BEHAVIOUR == "deaf":
    print("waiting for a database that never comes", file=sys.stderr, flush=True)
    time.sleep(3600)


# Keep-alive connections, and whether the process is ending.
connections = set()
is_ending = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1" if BEHAVIOUR == "keeps" else "HTTP/1.0"

    def setup(self):
        super().setup()
        connections.add(self)

    def finish(self):
        super().finish()
        connections.discard(self)

    def do_GET(self):
        wrong = BEHAVIOUR == "wrong"
        body = b"the frobnicator is on fire\n" if wrong else PAGE
        self.send_response(500 if wrong else 200)
        self.send_header("Content-Length", str(len(body)))
        if is_ending.is_set():
            # http.server closes the connection after this response.
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    # The process answers accepted requests before it ends.
    daemon_threads = False
    request_queue_size = 128


server = Server((HOST, PORT), Handler)


def end(*_):
    is_ending.set()
    threading.Thread(target=server.shutdown).start()


signal.signal(signal.SIGTERM, end)
server.serve_forever(poll_interval=0.02)
if BEHAVIOUR == "keeps":
    # Do not wait forever for clients that send no more requests.
    deadline = time.monotonic() + 2
    while connections and time.monotonic() < deadline:
        time.sleep(0.02)
    os._exit(0)
server.server_close()
if BEHAVIOUR == "lingers":
    time.sleep(3)
