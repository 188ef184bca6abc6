"""A client of NBD that writes."""

import socket
import struct

OPTION_MAGIC = 0x49484156454F5054
REQUEST_MAGIC = 0x25609513
REPLY_MAGIC = 0x67446698
WRITE, DISCONNECT, FLUSH = 1, 2, 3


class Disk:
    """A disk that is served on a unix socket."""

    def __init__(self, path, name, seconds):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(seconds)
        self.socket.connect(path)
        assert self.receive(16) == b"NBDMAGICIHAVEOPT"
        self.receive(2)
        # Fixed newstyle, no zeros; the export by its name.
        self.socket.sendall(struct.pack(">IQII", 3, OPTION_MAGIC, 1, len(name)) + name.encode())
        self.size, _ = struct.unpack(">QH", self.receive(10))

    def receive(self, length):
        received = b""
        while len(received) < length:
            more = self.socket.recv(length - len(received))
            if not more:
                raise ConnectionError("the server has ended")
            received += more
        return received

    def ask(self, kind, offset=0, length=0, data=b""):
        self.socket.sendall(struct.pack(">IHHQQI", REQUEST_MAGIC, 0, kind, 7, offset, length) + data)
        magic, error, _ = struct.unpack(">IIQ", self.receive(16))
        if magic != REPLY_MAGIC or error:
            raise OSError(f"the server answers with the error {error}")

    def write(self, offset, data):
        self.ask(WRITE, offset, len(data), data)

    def flush(self):
        self.ask(FLUSH)

    def close(self):
        try:
            self.socket.sendall(struct.pack(">IHHQQI", REQUEST_MAGIC, 0, DISCONNECT, 7, 0, 0))
        except OSError:
            pass
        self.socket.close()
