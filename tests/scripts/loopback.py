"""A server on this machine that answers well, cut off, wrongly, or not at all."""
import contextlib
import hashlib
import http.server
import os
import threading

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/good")
            self.end_headers()
            return
        bodies = {"/good": CONTENT, "/cut": CONTENT[:100_000], "/wrong": b"x" * len(CONTENT), "/empty": b""}
        if self.path not in bodies:
            self.send_error(404)
            return
        self.send_response(200)
        # The cut-off answer promises more than it sends, as a broken connection does.
        self.send_header("Content-Length", str(len(CONTENT) if self.path == "/cut" else len(bodies[self.path])))
        self.end_headers()
        self.wfile.write(bodies[self.path])

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{made.server_port}"
        finally:
            made.shutdown()
            thread.join()


def environment(**extra):
    """This process's, without what would send the requests elsewhere or choose another model."""
    kept = {name: value for name, value in os.environ.items()
            if not name.lower().endswith("_proxy") and not name.startswith("BRANCHSAE_")}
    return kept | extra
