#!/usr/bin/env python3
"""Measures what sealing costs a volume that is served: the processor time of the server for random reads, for writes, and for
snapshots of the running volume, in a plain and in a sealed repository in turns.

usage: sealed.py --work EMPTY_DIR --image IMAGE --newer IMAGE [--program icecore] [--rounds N]

The volume is a clone of IMAGE. What is written to it is read from the newer image. Needs Debian's python3-libnbd.
"""

import argparse
import contextlib
import os
import random
import statistics
import subprocess
import time
from pathlib import Path

import nbd

BLOCK, MIB = 4096, 1 << 20
READS, WRITES_MIB = 30_000, 128


class Repository:
    def __init__(self, program, directory, image, *how):
        self.program, self.directory, self.socket = program, directory, directory.with_suffix(".sock")
        self.run("init", *how)
        self.run("snapshot", "create", image, "--volume", "disk", "--name", "base")
        self.run("volume", "create", "clone", "--snapshot", "base")
        self.times = {"random read": [], "write": [], "live snapshot": []}

    def run(self, *arguments):
        subprocess.run([self.program, "--repo", self.directory, *arguments], check=True, capture_output=True)

    @contextlib.contextmanager
    def served(self):
        command = [self.program, "--repo", self.directory, "volume", "serve", "clone", "--socket", self.socket, "--cache", "64M"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not self.socket.exists():
            time.sleep(0.01)
        disk = nbd.NBD()
        disk.set_export_name("clone")
        disk.connect_unix(str(self.socket))
        try:
            yield server, disk
        finally:
            disk.shutdown()
            server.terminate()
            server.wait()
            self.socket.unlink(missing_ok=True)

    @contextlib.contextmanager
    def timed(self, server, what):
        before = processor_time(server.pid)
        yield
        self.times[what].append(processor_time(server.pid) - before)


def processor_time(pid):
    """Returns how long a process has run, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def blocks_with_data(image):
    """Returns the offsets of the blocks of a sparse file that are not holes."""
    with open(image, "rb") as file:
        at, blocks = 0, []
        while True:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return blocks
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            blocks.extend(range(at, end, BLOCK))
            at = end


def measure(repository, blocks, newer, turn):
    source = random.Random(turn)
    with repository.served() as (server, disk):
        with repository.timed(server, "random read"):
            for _ in range(READS):
                disk.pread(BLOCK, source.choice(blocks))
        starts = [offset * MIB for offset in source.sample(range(newer.stat().st_size // MIB), WRITES_MIB)]
        with repository.timed(server, "write"), open(newer, "rb") as file:
            for start in starts:
                file.seek(start)
                disk.pwrite(file.read(MIB), start)
            disk.flush()
        with repository.timed(server, "live snapshot"):
            repository.run("volume", "snapshot", "clone", "--name", f"turn-{turn}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["--work", "--image", "--newer"]:
        arguments.add_argument(name, type=Path, required=True)
    arguments.add_argument("--program", default="icecore")
    arguments.add_argument("--rounds", type=int, default=6)
    chosen = arguments.parse_args()
    os.environ["ICECORE_PASSWORD"] = "a password for this measurement"
    plain = Repository(chosen.program, chosen.work / "plain", chosen.image)
    sealed = Repository(chosen.program, chosen.work / "sealed", chosen.image, "--seal")
    blocks = blocks_with_data(chosen.image)
    # The first turn warms up what both have.
    for turn in range(chosen.rounds + 1):
        for repository in [plain, sealed]:
            measure(repository, blocks, chosen.newer, turn)
    units = {"random read": (READS, 1e6, "us"), "write": (WRITES_MIB, 1e3, "ms a MiB"), "live snapshot": (1, 1e3, "ms")}
    for what, (count, factor, unit) in units.items():
        of_plain, of_sealed = (statistics.median(one.times[what][1:]) / count * factor for one in (plain, sealed))
        print(f"{what}: {of_plain:.2f} and {of_sealed:.2f} {unit}, {of_sealed / of_plain - 1:+.1%}")


if __name__ == "__main__":
    main()
