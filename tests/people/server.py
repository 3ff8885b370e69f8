"""A mail server (aiosmtpd, STARTTLS and a login asked for) and an HTTP server, both on free ports of loopback.

    server.py CERTIFICATE KEY USER PASSWORD

The first line of standard output has their ports; each line after it is one thing received, as JSON. Mail to `unknown@` is
refused for good, the first one to `busy@` for now; a POST to `/busy` is answered 503 the first time. Ends with its
standard input.
"""

import email
import email.policy
import http.server
import json
import ssl
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

certificate, key, user, password = sys.argv[1:]
turn = threading.Lock()
put_off = set()


def say(**line):
    with turn:
        print(json.dumps(line), flush=True)


def first_time(what):
    with turn:
        new = what not in put_off
        put_off.add(what)
    return new


class People:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown@"):
            return "550 5.1.1 nobody of that name"
        if address.startswith("busy@") and first_time(address):
            return "451 4.2.1 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        say(
            mail={name.lower(): str(value) for name, value in mail.items()},
            body=mail.get_content(),
            to=envelope.rcpt_tos,
            sender=envelope.mail_from,
            tls=session.ssl is not None,
            login=session.authenticated,
        )
        return "250 OK"


class Hooks(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        status = 503 if self.path == "/busy" and first_time(self.path) else 200
        say(path=self.path, status=status, headers={k.lower(): ", ".join(self.headers.get_all(k)) for k in self.headers}, json=json.loads(body))
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def authenticator(server, session, envelope, mechanism, login):
    known = (user.encode(), password.encode())
    return AuthResult(success=(login.login, login.password) == known)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
hooks = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hooks)
threading.Thread(target=hooks.serve_forever, daemon=True).start()
people = Controller(
    People(),
    hostname="127.0.0.1",
    port=0,
    tls_context=context,
    require_starttls=True,
    authenticator=authenticator,
    auth_required=True,
)
# The controller greets itself once it is up, on the port it was told: any free one has to be known before.
import socket

with socket.create_server(("127.0.0.1", 0)) as free:
    people.port = free.getsockname()[1]
people.start()
say(smtp=people.port, http=hooks.server_address[1])
sys.stdin.read()
people.stop()
