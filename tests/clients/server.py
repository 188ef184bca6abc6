"""A server of `icecore serve` in a directory of its own, for the clients that are tried against it."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

ICECORE = os.environ.get("ICECORE", "icecore")

# A public SSH key.
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ops@example.com"

CONFIG = """
[server]
listen = "127.0.0.1:0"
state_dir = "state"

[regions.here]
name = "Here"
repository = "here"

[regions.there]
name = "There"
repository = "there"

[[account]]
name = "ann"
email = "ann@example.com"

[[account]]
name = "bob"
email = "bob@example.com"

[import]
folders = ["images"]
"""


class Server:
    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.port = self.url = None
        self.config = self.dir / "server.toml"
        self.config.write_text(CONFIG)
        self.images = self.dir / "images"
        self.images.mkdir()
        self.process = None

    def token(self, account="ann"):
        made = subprocess.run(
            [ICECORE, "token", "create", "clients", "--account", account, "--config", self.config],
            check=True, capture_output=True, text=True,
        )
        return made.stdout.split()[-1]

    def ask(self, token, method, path, body=None):
        """Makes one request as godo does, and returns the status and the answer."""
        request = urllib.request.Request(
            f"{self.url}/v2{path}", method=method, data=None if body is None else (json.dumps(body) + "\n").encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        return status, json.loads(text) if text else None

    def imported(self, token):
        """Imports an image that Droplets can boot from. Returns its id and the URL that it came from."""
        file = self.images / "system.raw"
        file_system(file, 64, {"hostname": b"original\n"})
        url = f"file://{file}"
        body = {"name": "system", "url": url, "region": "here", "distribution": "Debian"}
        status, answer = self.ask(token, "POST", "/images", body)
        assert status == 202, answer
        image = answer["image"]["id"]
        wait_for(lambda: self.ask(token, "GET", f"/images/{image}")[1]["image"]["status"] == "available")
        return image, url

    def start(self):
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(
                [ICECORE, "serve", "--config", self.config], stdout=subprocess.PIPE, stderr=log, text=True,
            )
        # It prints its address when it takes requests. One that does neither that nor end is killed.
        patience = threading.Timer(60, self.process.kill)
        patience.start()
        first = self.process.stdout.readline()
        patience.cancel()
        found = re.search(r"http://127\.0\.0\.1:(\d+)$", first.strip())
        if not found:
            self.process.kill()
            self.process.wait()
            raise SystemExit(f"the server did not start:\n{first}{(self.dir / 'log').read_text()}")
        self.url, self.port = found[0], int(found[1])
        return self

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            code = self.process.wait(timeout=60)
            self.process.stdout.close()
            self.process = None
            assert code == 0, f"the server ended with {code}:\n{(self.dir / 'log').read_text()}"


@contextlib.contextmanager
def server():
    with tempfile.TemporaryDirectory(prefix="icecore-clients-") as directory:
        one = Server(directory).start()
        try:
            yield one
        except BaseException:
            print((one.dir / "log").read_text())
            raise
        finally:
            one.stop()


def nbd_read(uri, path):
    """Copies what a disk contains to a file."""
    subprocess.run(["nbdcopy", uri, path], check=True)


def nbd_write(uri, offset, text):
    """Writes to a disk, as the machine would that runs from it."""
    script = f"h.pwrite({text!r}, {offset}); h.flush()"
    # Debian's package is for Debian's python.
    path = f"/usr/bin:{os.environ['PATH']}"
    subprocess.run(["nbdsh", "-u", uri, "-c", script], check=True, env={**os.environ, "PATH": path})


def file_system(path, mebibytes, files):
    """Makes an image with a file system that has these files in it."""
    with tempfile.TemporaryDirectory() as tree:
        for name, content in files.items():
            (pathlib.Path(tree) / name).write_bytes(content)
        with open(path, "wb") as image:
            image.truncate(mebibytes << 20)
        subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", "-d", tree, path], check=True)


def is_same(image, disk):
    """Tells whether a disk begins with an image and is zero behind it."""
    compared = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "raw", image, disk], capture_output=True, text=True)
    assert compared.returncode in (0, 1), compared.stderr
    return compared.returncode == 0


def wait_for(what, seconds=60):
    """Asks until the answer is true, as clients do that wait for an action."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
    return answer
