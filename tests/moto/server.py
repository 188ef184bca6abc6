"""moto as a server on a port of its own choice, which it prints.

It answers one request at a time: moto looks whether a name is free, and makes the object then. Of two requests at once,
both have made one in 1 of 40 races.
"""

import threading

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

moto = DomainDispatcherApplication(create_backend_app)
turn = threading.Lock()


def one_at_a_time(environ, start_response):
    with turn:
        return list(moto(environ, start_response))


server = make_server("127.0.0.1", 0, one_at_a_time, threaded=True)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
