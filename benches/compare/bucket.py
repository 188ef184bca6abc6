#!/usr/bin/env python3
"""Measures repositories in a bucket over a link with a latency and a limited rate: captures, restores, and the first reads of a
clone that is served on a machine which has nothing of it yet. restic, where it is installed, does the same with the same server.

usage: bucket.py --work EMPTY_DIR --images DIR [--program icecore] [--server s3-double] [--latency-ms 20] [--mbit 1000]

DIR has the images of make-images.sh. The server is `cargo build --release -p icecore-testing-s3`. Each machine is a home directory
of its own. What a link carries is counted at the server, with headers. Needs Debian's python3-libnbd and e2fsprogs.
"""

import argparse
import contextlib
import filecmp
import json
import os
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import nbd

BLOCK = 4096
# What a Debian system reads first, about in this order.
BOOT = """/boot/vmlinuz* /boot/initrd* /sbin/init /etc/fstab /etc/passwd /etc/group /etc/ld.so.cache /lib/x86_64-linux-gnu/libc.so.6
/usr/lib/systemd/systemd-udevd /usr/lib/systemd/systemd-journald /usr/bin/dbus-daemon /usr/sbin/sshd /bin/bash /sbin/agetty /bin/login"""


class Store:
    """The server, with one bucket, behind a link."""

    def __init__(self, chosen):
        command = [chosen.server, "--bucket", "lab", "--access", "test:secret", "--dir", chosen.work / "store"]
        command += ["--latency-ms", str(chosen.latency_ms), "--mbit", str(chosen.mbit)]
        (chosen.work / "store").mkdir()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        told = dict(self.process.stdout.readline().split() for _ in range(2))
        self.endpoint, self.control = told["endpoint"], told["control"]
        self.bytes_per_second = chosen.mbit * 1e6 / 8

    @contextlib.contextmanager
    def counted(self):
        """Counts what happens meanwhile."""
        counted = {}
        urllib.request.urlopen(urllib.request.Request(f"{self.control}/_reset", method="POST")).close()
        began = time.monotonic()
        yield counted
        counted["seconds"] = time.monotonic() - began
        with urllib.request.urlopen(f"{self.control}/_counters") as answer:
            counted |= json.load(answer)
        counted["bytes"] = max(counted["wire_up"], counted["wire_down"])
        counted["link"] = counted["bytes"] / self.bytes_per_second / counted["seconds"]


class Machine:
    def __init__(self, work, name, store):
        self.home = work / name
        self.home.mkdir()
        self.environment = os.environ | {
            "HOME": str(self.home), "AWS_ENDPOINT_URL": store.endpoint, "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
            "RESTIC_PASSWORD": "a password for this measurement", "ICECORE_REPO": "s3://lab/icecore",
            "RESTIC_REPOSITORY": f"s3:{store.endpoint}/lab/restic",
        }
        for name in ["XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"]:
            self.environment.pop(name, None)

    def run(self, *command):
        subprocess.run(command, env=self.environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=self.home)


class Icecore:
    name = "icecore"

    def __init__(self, program):
        self.program = program

    def init(self, machine):
        machine.run(self.program, "init")

    def capture(self, machine, image):
        machine.run(self.program, "snapshot", "create", image, "--droplet", "web-1", "--no-progress")

    def restore(self, machine, image, to):
        machine.run(self.program, "restore", "web-1@latest", to / image.name, "--no-progress")
        return to / image.name


class Restic:
    name = "restic"

    def init(self, machine):
        machine.run("restic", "init", "--repository-version", "2")

    def capture(self, machine, image):
        machine.run("restic", "backup", "--quiet", image)

    def restore(self, machine, image, to):
        machine.run("restic", "restore", "latest", "--quiet", "--target", to)
        return to / image.relative_to("/")


def captures_and_restores(tool, store, chosen):
    first, second = chosen.images / "droplet-a.v1.raw", chosen.images / "droplet-a.v2.raw"
    # As one machine sees them, two versions of one disk are at one path.
    disk = chosen.work / "web-1.raw"
    one, other = (Machine(chosen.work, f"{tool.name}-{number}", store) for number in ("one", "other"))
    tool.init(one)
    measured = {}
    for what, image in [("capture", first), ("capture of the next version", second), ("capture of an unchanged image", second)]:
        subprocess.run(["cp", "--sparse=always", image, disk], check=True)
        with store.counted() as measured[what]:
            tool.capture(one, disk)
    to = chosen.work / "restored"
    for what in ["restore on another machine", "restore once more"]:
        to.mkdir()
        with store.counted() as measured[what]:
            restored = tool.restore(other, disk, to)
        if not filecmp.cmp(restored, second, shallow=False):
            raise SystemExit(f"{tool.name} restored something else")
        shutil.rmtree(to)
    return measured


@contextlib.contextmanager
def served(machine, program, name, *how):
    socket = machine.home / f"{name}.sock"
    machine.run(program, "volume", "create", name, "--snapshot", "web-1@latest")
    command = [program, "volume", "serve", name, "--socket", socket, *how]
    server = subprocess.Popen(command, env=machine.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not socket.exists():
        time.sleep(0.001)
    disk = nbd.NBD()
    disk.set_export_name(name)
    disk.connect_unix(str(socket))
    try:
        yield disk
    finally:
        disk.shutdown()
        server.terminate()
        server.wait()


def blocks_of_boot(image):
    """Returns the offsets of the blocks of the files that a system reads first, in runs."""
    names = []
    for pattern in BOOT.split():
        directory, _, part = pattern.rpartition("/")
        if not part.endswith("*"):
            names.append(pattern)
            continue
        listed = debugfs(image, f"ls -p {directory}").splitlines()
        names += [f"{directory}/{line.split('/')[5]}" for line in listed if line.startswith("/") and line.split("/")[5].startswith(part[:-1])]
    blocks = []
    for name in names:
        found = debugfs(image, f"blocks {name}").split()
        blocks += [int(block) * BLOCK for block in found if block.isdigit()]
    return blocks


def debugfs(image, request):
    return subprocess.run(["debugfs", "-R", request, image], capture_output=True, text=True, check=True).stdout


def clones(program, store, chosen):
    measured = {}
    blocks = blocks_of_boot(chosen.images / "droplet-a.v2.raw")
    for what, how in [("boot-like reads", []), ("the same, recorded", ["--record"]), ("the same, prefetched", ["--prefetch"])]:
        if how and not offers(program, how[0]):
            continue
        machine = Machine(chosen.work, f"clone-{how}", store)
        with served(machine, program, "clone", *how) as disk:
            if not how:
                with store.counted() as measured["the first byte of a clone"]:
                    disk.pread(BLOCK, blocks[0])
            with store.counted() as measured[what]:
                for offset in blocks:
                    disk.pread(BLOCK, offset)
    return measured, len(blocks)


def offers(program, option):
    return option in subprocess.run([program, "volume", "serve", "--help"], capture_output=True, text=True).stdout


def show(title, measured):
    print(f"\n{title}")
    for what, counted in measured.items():
        mib = counted["bytes"] / (1 << 20)
        print(f"{what:32} {counted['seconds']:8.2f} s {counted['requests']:6} requests {mib:8.2f} MiB {counted['link']:6.1%} of the link")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["--work", "--images"]:
        arguments.add_argument(name, type=lambda path: Path(path).resolve(), required=True)
    arguments.add_argument("--program", default="icecore")
    arguments.add_argument("--server", default="s3-double")
    arguments.add_argument("--latency-ms", type=int, default=20)
    arguments.add_argument("--mbit", type=int, default=1000)
    chosen = arguments.parse_args()
    tools = [Icecore(chosen.program)] + ([Restic()] if shutil.which("restic") else [])
    store = Store(chosen)
    try:
        for tool in tools:
            show(tool.name, captures_and_restores(tool, store, chosen))
        measured, count = clones(chosen.program, store, chosen)
        show(f"clones, {count} reads of 4 KiB one after another", measured)
    finally:
        store.process.stdin.close()
        store.process.wait()


if __name__ == "__main__":
    main()
