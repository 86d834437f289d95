"""The front end of the stack tests: answers with its version and that of the API, which it asks for each request."""
import http.client
import http.server
import os
import urllib.request

HOST, PORT, VERSION, API = (os.environ[name] for name in ("HOST", "PORT", "VERSION", "API"))


def api_version():
    with urllib.request.urlopen(API, timeout=10) as reply:
        return reply.read().decode().split(": ")[-1].strip()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet.
    wbufsize = -1

    def do_GET(self):
        try:
            status, body = 200, f"I am: {HOST}, the API and the version are: {api_version()} {VERSION}\n"
        except (OSError, http.client.HTTPException) as error:
            status, body = 502, f"the API does not answer: {error}\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


Server((HOST, int(PORT)), Handler).serve_forever()
