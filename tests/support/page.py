"""The service of the fleet tests: says who and which version it is, or misbehaves as its artifact tells it to."""
import http.server
import os
import signal
import sys
import threading
import time

HOST = os.environ.get("HOST", "127.0.0.1")
PORT = int(os.environ.get("PORT", "8081"))
VERSION = os.environ.get("VERSION", "none")
# Tells this process from one before it that had the same page.
SELF = f", this is: {os.getpid()}-{time.time_ns()}" if os.environ.get("TELL") == "self" else ""
PAGE = f"I am: {HOST}, the version is: {VERSION}{SELF}\n".encode()

try:
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "behaviour")) as behaviour:
        BEHAVIOUR = behaviour.read().strip()
except FileNotFoundError:
    BEHAVIOUR = "good"

print(f"page {VERSION} starts, its behaviour is {BEHAVIOUR}", file=sys.stderr, flush=True)
if BEHAVIOUR == "exits":
    print("fatal: the frobnicator is missing", file=sys.stderr, flush=True)
    sys.exit(7)
if BEHAVIOUR == "late":
    time.sleep(3)
if BEHAVIOUR == "deaf":
    print("waiting for a database that never comes", file=sys.stderr, flush=True)
    time.sleep(3600)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        wrong = BEHAVIOUR == "wrong"
        body = b"the frobnicator is on fire\n" if wrong else PAGE
        self.send_response(500 if wrong else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    # What was accepted is answered before the process ends.
    daemon_threads = False
    request_queue_size = 128


server = Server((HOST, PORT), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever(poll_interval=0.02)
server.server_close()
if BEHAVIOUR == "lingers":
    time.sleep(3)
