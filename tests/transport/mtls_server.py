"""A TLS server on 127.0.0.1 that asks its clients for a certificate. Arguments: certificate, key, authority.
Prints its port, then answers each POST with who the client is and how long the body was."""

import http.server
import json
import ssl
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        subject = dict(pair[0] for pair in self.connection.getpeercert()["subject"])
        answer = json.dumps({"client": subject["commonName"], "bytes": len(body)}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
context.load_verify_locations(sys.argv[3])
context.verify_mode = ssl.CERT_REQUIRED
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
# Ends with whoever started it.
import threading

threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
