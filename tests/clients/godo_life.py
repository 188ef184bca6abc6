"""Runs the program in godo/ against a server."""

import os
import subprocess

from server import file_system
from server import server

with server() as one:
    image = one.images / "debian.raw"
    file_system(image, 512, {"hostname": b"original\n", "data": os.urandom(1 << 20)})
    subprocess.run([os.environ["GODO_LIFE"], one.url, one.token(), f"file://{image}"], check=True)
