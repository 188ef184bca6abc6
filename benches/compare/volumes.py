#!/usr/bin/env python3
"""Compares icecore's served volumes with qemu-nbd and nbdkit, and writes a table and bar charts.

usage: volumes.py --image FILE --work DIR --out DIR [--rounds N] [--quick] [--tools NAME,...] [--install]
       volumes.py --from volumes.json --out DIR

FILE is a raw disk image; it is only read. DIR of --work gets a directory that is removed at the end; it needs space
for two copies of the image and 3 GiB. All serve over a unix socket, one at a time, and in each round in another order.
The programs are the same clients for all: nbdcopy, fio with its nbd engine, and a small client in this file where each
single reply is timed. Each value is the median of the rounds, and so is each ratio to qemu-nbd with the raw file.

icecore must be in the PATH. The others too, or --install gets them from Debian's packages, as root. With --from nothing
is run: they are made again from the results of a run.
"""

import argparse
import gc
import json
import os
import random
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True
from compare import chart

MIB = 1 << 20
PROGRAMS = {"qemu-nbd": "qemu-utils", "qemu-img": "qemu-utils", "nbdkit": "nbdkit", "nbdcopy": "libnbd-bin", "fio": "fio"}
# Smaller than icecore's cache of chunks, which is 96 MiB, and much larger than it.
HOT, WIDE = 64 * MIB, 1024 * MIB
WRITTEN = 256 * MIB
DIRTY = [0, 10, 100, 1024]
# A little less than 16 TiB, which is more than a file of ext4 can have.
HUGE = (16 << 40) - MIB


def run(*argv, **more):
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    if done.returncode:
        sys.exit(f"{argv}: exit code {done.returncode}\n{done.stderr.decode(errors='replace')[-4000:]}")
    return done.stdout


def timed(*argv):
    begun = time.perf_counter()
    run(*argv)
    return time.perf_counter() - begun


class Client:
    """The least of an NBD client: one connection, one request at a time."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.connect(str(path))
            self.handshake()
        except BaseException:
            self.socket.close()
            raise

    def handshake(self):
        magic, option, flags = struct.unpack(">8s8sH", self.take(18))
        if (magic, option) != (b"NBDMAGIC", b"IHAVEOPT") or not flags & 1:
            sys.exit("not a server of NBD that this client understands")
        name = b"disk"
        self.socket.sendall(struct.pack(">I", 1) + struct.pack(">8sIII", b"IHAVEOPT", 7, len(name) + 6, len(name)) + name + b"\0\0")
        while True:
            _, _, kind, length = struct.unpack(">QIII", self.take(20))
            self.take(length)
            if kind == 1:
                return
            if kind & 1 << 31:
                sys.exit(f"the server refused the export: {kind:#x}")

    def take(self, count):
        got = bytearray()
        while len(got) < count:
            part = self.socket.recv(count - len(got))
            if not part:
                raise ConnectionError("the server closed the connection")
            got += part
        return bytes(got)

    def request(self, kind, offset, length, data=b""):
        self.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, kind, 0, offset, length) + data)
        _, error, _ = struct.unpack(">IIQ", self.take(16))
        if error:
            sys.exit(f"the server replied with error {error} to request {kind}")

    def read(self, offset, length):
        self.request(0, offset, length)
        return self.take(length)

    def write(self, offset, data):
        self.request(1, offset, len(data), data)

    def flush(self):
        self.request(3, 0, 0)

    def close(self):
        self.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 2, 0, 0, 0))
        self.socket.close()


class Tool:
    """A disk with the content of `image`, made anew by `create`, served by the process of `serve`."""

    # Whether writes go to a copy of the image, and not beside it.
    in_place = False

    def __init__(self, work, image):
        self.work, self.image, self.socket = work, image, work / "socket"
        self.copy = work / "copy.raw"
        self.server = None

    def prepare(self):
        """What is not the making of a clone, and not timed."""
        if self.in_place:
            run("cp", "--sparse=always", self.image, self.copy)
            run("sync", "-f", self.work)

    def create(self):
        pass

    def remove(self):
        self.copy.unlink(missing_ok=True)

    def start(self):
        """Starts the server, waits for it, and reads the first sector: seconds for each of the two."""
        begun = time.perf_counter()
        with open(self.work / "server.log", "wb") as log:
            argv = [str(a) for a in self.serve()]
            self.server = subprocess.Popen(argv, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(self.work)})
        while True:
            try:
                probe = socket.socket(socket.AF_UNIX)
                probe.connect(str(self.socket))
                break
            except OSError:
                probe.close()
                if self.server.poll() is not None or time.perf_counter() - begun > 60:
                    sys.exit(f"{argv} does not serve:\n{(self.work / 'server.log').read_text()[-4000:]}")
                time.sleep(0.0002)
        probe.close()
        ready = time.perf_counter()
        client = Client(self.socket)
        client.read(0, 512)
        first = time.perf_counter()
        client.close()
        return ready - begun, first - ready

    def stop(self):
        """Ends the server. Its peak of memory, in MiB."""
        status = Path(f"/proc/{self.server.pid}/status").read_text()
        self.end()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def end(self):
        if self.server:
            self.server.send_signal(signal.SIGTERM)
            self.server.wait()
            self.server = None
        self.socket.unlink(missing_ok=True)

    def uri(self):
        return f"nbd+unix:///disk?socket={self.socket}"


class QemuRaw(Tool):
    name, title = "qemu-raw", "qemu-nbd, raw file"
    in_place = True

    def serve(self):
        return ["qemu-nbd", "-f", "raw", "-x", "disk", "-t", "-e", "16", "--discard=unmap", "-k", self.socket, self.copy]


class Icecore(Tool):
    name, title = "icecore", "icecore"
    snapshot = "image"

    def call(self, *words):
        return ["icecore", "-q", "--no-progress", "--repo", self.work / "repository", *words]

    def create(self):
        run(*self.call("volume", "create", "disk", "--snapshot", self.snapshot))

    def remove(self):
        run(*self.call("volume", "delete", "--force", "disk"))

    def serve(self):
        return self.call("volume", "serve", "disk", "--socket", self.socket)


class Qcow2(Tool):
    name, title = "qcow2", "qemu-nbd, qcow2 overlay"

    def create(self):
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", self.image, self.work / "overlay.qcow2")

    def remove(self):
        (self.work / "overlay.qcow2").unlink()

    def serve(self):
        return ["qemu-nbd", "-f", "qcow2", "-x", "disk", "-t", "-e", "16", "--discard=unmap", "-k", self.socket,
                self.work / "overlay.qcow2"]


class NbdkitCow(Tool):
    name, title = "nbdkit-cow", "nbdkit, cow filter"

    def serve(self):
        return ["nbdkit", "-f", "-U", self.socket, "--filter=cow", "file", self.image]


class NbdkitFile(Tool):
    name, title = "nbdkit-file", "nbdkit, raw file"
    in_place = True

    def serve(self):
        return ["nbdkit", "-f", "-U", self.socket, "file", self.copy]


TOOLS = {tool.name: tool for tool in [QemuRaw, Icecore, Qcow2, NbdkitCow, NbdkitFile]}


def data_in(path):
    """The data of a file that are no holes, as pairs of offset and end."""
    with open(path, "rb") as file:
        size, at, found = os.fstat(file.fileno()).st_size, 0, []
        while at < size:
            try:
                begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            found.append((begin, at))
        return found


def densest(data, size, length):
    """The offset of a region with the most data in it."""
    filled = [0] * (size // MIB + 1)
    for begin, end in data:
        while begin < end:
            stop = min(end, (begin // MIB + 1) * MIB)
            filled[begin // MIB] += stop - begin
            begin = stop
    window = min(length, size) // MIB
    total = best = sum(filled[:window])
    at = 0
    for first in range(1, size // MIB - window + 1):
        total += filled[first + window - 1] - filled[first - 1]
        if total > best:
            best, at = total, first
    return at * MIB


def fio(tool, seconds, region, *words):
    """Operations a second."""
    offset, length = region
    words = [f"--{word}" for word in words]
    told = run("fio", "--name=x", "--ioengine=nbd", f"--uri={tool.uri()}", "--output-format=json", "--time_based",
               f"--runtime={seconds}", f"--offset={offset}", f"--size={length}", "--norandommap", *words, cwd=tool.work)
    job = json.loads(told[told.index(b"{"):])["jobs"][0]
    if job["error"]:
        sys.exit(f"fio failed with {tool.name}")
    return job["read"]["iops"] + job["write"]["iops"]


def reads(tool, plan, found):
    tool.prepare()
    begun = time.perf_counter()
    tool.create()
    found["create"] = time.perf_counter() - begun
    found["ready"], found["first"] = tool.start()
    # What has no data is not read; with the option, all is.
    mib = plan.data_bytes / MIB
    found["copy, cold"] = mib / timed("nbdcopy", tool.uri(), "null:")
    found["copy, again"] = mib / timed("nbdcopy", tool.uri(), "null:")
    found["copy, one"] = mib / timed("nbdcopy", "--connections=1", "--requests=1", tool.uri(), "null:")
    found["copy, holes too"] = plan.size / MIB / timed("nbdcopy", "--no-extents", tool.uri(), "null:")
    found["memory, copy"] = tool.stop()
    tool.start()
    for depth in 1, 16:
        run("fio", "--name=x", "--ioengine=nbd", f"--uri={tool.uri()}", "--rw=read", "--bs=1M",
            f"--offset={plan.hot[0]}", f"--size={plan.hot[1]}", cwd=tool.work)
        found[f"read hot, {depth}"] = fio(tool, plan.seconds, plan.hot, "rw=randread", "bs=4k", f"iodepth={depth}")
        found[f"read wide, {depth}"] = fio(tool, plan.seconds, plan.wide, "rw=randread", "bs=4k", f"iodepth={depth}")
    tool.stop()
    tool.remove()


def writes(tool, plan, found):
    tool.prepare()
    tool.create()
    tool.start()
    found["write first, 16"] = fio(tool, plan.seconds, plan.wide, "rw=randwrite", "bs=4k", "iodepth=16")
    run("fio", "--name=x", "--ioengine=nbd", f"--uri={tool.uri()}", "--rw=write", "--bs=1M", "--end_fsync=1",
        f"--offset={plan.written[0]}", f"--size={plan.written[1]}", cwd=tool.work)
    for depth in 1, 16:
        found[f"write, {depth}"] = fio(tool, plan.seconds, plan.written, "rw=randwrite", "bs=4k", f"iodepth={depth}")
        run("sync", "-f", tool.work)
    for depth in 1, 16:
        found[f"write and flush, {depth}"] = fio(
            tool, plan.seconds, plan.written, "rw=randwrite", "bs=4k", f"iodepth={depth}", "fsync=32")
    slowest = Writer(tool, plan.written, 1)
    slowest.join_after(plan.seconds)
    found["latency, 99.9 %"], found["latency, longest"] = slowest.worst()
    found["memory, write"] = tool.stop()
    tool.remove()
    run("sync", "-f", tool.work)


class Writer(threading.Thread):
    """Writes 4 KiB after each other at random places until it is told to stop, and times each."""

    def __init__(self, tool, region, seed):
        super().__init__()
        self.client, self.region, self.chance = Client(tool.socket), region, random.Random(seed)
        self.replies, self.ended = [], False
        self.start()

    def run(self):
        offset, length = self.region
        data = blocks(1 << 20, self.chance)
        while not self.ended:
            at = offset + self.chance.randrange(length // 4096) * 4096
            from_ = self.chance.randrange(256) * 4096
            begun = time.perf_counter()
            self.client.write(at, data[from_:from_ + 4096])
            self.replies.append((begun, time.perf_counter()))
        self.client.close()

    def join_after(self, seconds):
        time.sleep(seconds)
        self.ended = True
        self.join()

    def worst(self, begin=0.0, end=float("inf")):
        """Seconds that 99.9 % of the writes took at most, and the longest, of those that ran in a time."""
        took = sorted(b - a for a, b in self.replies if b > begin and a < end)
        return took[min(len(took) - 1, len(took) * 999 // 1000)], took[-1]


def blocks(length, chance):
    """Blocks that zstd can make half as large, none of them alike."""
    return b"".join(chance.randbytes(2048) + b"half of it is text" * 113 + b"as it is one\n\n" for _ in range(length // 4096))


def snapshots(tool, plan, found):
    """Of a volume that is served: with nothing written, with much written, and while a client writes."""
    chance = random.Random(plan.round)
    tool.create()
    tool.start()
    client = Client(tool.socket)
    names = iter(range(100))

    def snapshot():
        return timed(*tool.call("volume", "snapshot", "disk", "--name", f"disk-{plan.round}-{next(names)}"))

    for mib in plan.dirty:
        places = list(range(plan.size // MIB))
        chance.shuffle(places)
        for place in places[:mib]:
            client.write(place * MIB, blocks(MIB, chance))
        found[f"snapshot, {mib}"] = snapshot()
    mib = plan.dirty[-1]
    for place in places[:mib]:
        client.write(place * MIB, blocks(MIB, chance))
    client.close()
    run("sync", "-f", tool.work)
    writer = Writer(tool, plan.written, plan.round)
    time.sleep(plan.seconds)
    begun = time.perf_counter()
    found["snapshot, written to"] = snapshot()
    ended = time.perf_counter()
    writer.join_after(plan.seconds)
    found["pause, 99.9 %"], found["pause, longest"] = writer.worst(begun, ended)
    found["pause, 99.9 % before"], found["pause, longest before"] = writer.worst(end=begun)
    tool.stop()
    tool.remove()
    for number in range(next(names)):
        run(*tool.call("snapshot", "delete", "--force", f"disk-{plan.round}-{number}"))
    run(*tool.call("gc", "--max-unused", "0%"))


def huge(tool_class, work, plan, found):
    """A disk of 16 TiB with little data: made, served, the first byte read, and for icecore a snapshot of it."""
    tool = tool_class(work, work / "huge.raw")
    # Nothing is written to it by those that would write in place, so they need no copy.
    tool.snapshot, tool.copy = "huge", tool.image
    begun = time.perf_counter()
    tool.create()
    found["huge, create"] = time.perf_counter() - begun
    try:
        found["huge, ready"], found["huge, first"] = tool.start()
        if tool_class is Icecore:
            huge_snapshots(tool, plan, found)
    finally:
        tool.end()
    if not tool.in_place:
        tool.copy = work / "copy.raw"
        tool.remove()


def huge_snapshots(tool, plan, found):
    names = [f"huge-{plan.round}-{number}" for number in range(2)]
    found["huge, snapshot"] = timed(*tool.call("volume", "snapshot", "disk", "--name", names[0]))
    client = Client(tool.socket)
    client.write(HUGE // 2 // MIB * MIB, os.urandom(4096))
    client.close()
    found["huge, snapshot of 4 KiB"] = timed(*tool.call("volume", "snapshot", "disk", "--name", names[1]))
    run(*tool.call("snapshot", "delete", "--force", *names))


def make_huge(path):
    """1024 places with 64 KiB of data, as far from each other as they can be."""
    chance = random.Random(16)
    with open(path, "wb") as file:
        file.truncate(HUGE)
        for number in range(1024):
            os.pwrite(file.fileno(), chance.randbytes(1 << 16), number * (HUGE // 1024 // MIB) * MIB)


class Plan:
    def __init__(self, options):
        self.size = options.image.stat().st_size
        data = data_in(options.image)
        self.data_bytes = sum(end - begin for begin, end in data)
        self.seconds = 1 if options.quick else 3
        self.dirty = [0, 10, 100] if options.quick else DIRTY
        self.round = 0
        regions = ((length, min(length, self.size)) for length in (HOT, WIDE, WRITTEN))
        self.hot, self.wide, self.written = ((densest(data, self.size, wanted), length) for wanted, length in regions)


def run_all(options):
    names = options.tools.split(",")
    if options.install:
        install()
    missing = sorted(program for program in ["icecore", *PROGRAMS] if not shutil.which(program))
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}; --install gets all but icecore")
    options.work.mkdir(parents=True, exist_ok=True)
    options.image = options.image.resolve()
    plan = Plan(options)
    gc.disable()
    rounds = []
    with tempfile.TemporaryDirectory(prefix="volumes-", dir=options.work.resolve()) as scratch:
        work = Path(scratch)
        repository = Icecore(work, options.image)
        run(*repository.call("init"))
        run(*repository.call("snapshot", "create", options.image, "--volume", "disk", "--name", "image"))
        make_huge(work / "huge.raw")
        run(*repository.call("snapshot", "create", work / "huge.raw", "--volume", "huge", "--name", "huge"))
        run("sync", "-f", work)
        for plan.round in range(options.rounds):
            found = {}
            shift = plan.round % len(names)
            for name in names[shift:] + names[:shift]:
                print(f"round {plan.round + 1}: {name}", file=sys.stderr, flush=True)
                one_tool(TOOLS[name], work, options.image, plan, found.setdefault(name, {}))
            rounds.append(found)
            # What is measured is kept, whatever the next round does.
            (options.out / "volumes.json").write_text(json.dumps(rounds, indent=1))
    return rounds


def one_tool(tool_class, work, image, plan, found):
    tool = tool_class(work, image)
    try:
        reads(tool, plan, found)
        writes(tool, plan, found)
        if tool_class is Icecore:
            snapshots(tool, plan, found)
    finally:
        tool.end()
    huge(tool_class, work, plan, found)


def install():
    packages = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})
    if packages:
        debian = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-q"], env=debian, check=True)
        subprocess.run(["apt-get", "install", "-yq", "--no-install-recommends", *packages], env=debian, check=True)


# Title, key, factor, format.
ROWS = [
    ("make the disk, ms", "create", 1000, ".1f"),
    ("start the server, ms", "ready", 1000, ".1f"),
    ("connect and read the first sector, ms", "first", 1000, ".2f"),
    ("the same of 16 TiB: make, ms", "huge, create", 1000, ".1f"),
    ("start, ms", "huge, ready", 1000, ".1f"),
    ("connect and read, ms", "huge, first", 1000, ".2f"),
    ("read all data (nbdcopy), new server, MiB/s", "copy, cold", 1, ",.0f"),
    ("read all data again, MiB/s", "copy, again", 1, ",.0f"),
    ("read all data, one request at a time, MiB/s", "copy, one", 1, ",.0f"),
    ("read all, holes too, MiB/s", "copy, holes too", 1, ",.0f"),
    ("random read in 64 MiB, depth 1, per s", "read hot, 1", 1, ",.0f"),
    ("random read in 64 MiB, depth 16, per s", "read hot, 16", 1, ",.0f"),
    ("random read in 1 GiB, depth 1, per s", "read wide, 1", 1, ",.0f"),
    ("random read in 1 GiB, depth 16, per s", "read wide, 16", 1, ",.0f"),
    ("random first write in 1 GiB, depth 16, per s", "write first, 16", 1, ",.0f"),
    ("random write in 256 MiB, depth 1, per s", "write, 1", 1, ",.0f"),
    ("random write in 256 MiB, depth 16, per s", "write, 16", 1, ",.0f"),
    ("the same, flush after 32, depth 1, per s", "write and flush, 1", 1, ",.0f"),
    ("the same, flush after 32, depth 16, per s", "write and flush, 16", 1, ",.0f"),
    ("time of a write, 99.9 %, ms", "latency, 99.9 %", 1000, ".2f"),
    ("longest of the writes, ms", "latency, longest", 1000, ".1f"),
    ("peak memory of the server, reading, MiB", "memory, copy", 1, ".0f"),
    ("peak memory of the server, writing, MiB", "memory, write", 1, ".0f"),
]

# Of icecore alone.
SNAPSHOT_ROWS = [
    *((f"snapshot after {mib} MiB written, ms" if mib else "snapshot with nothing written, ms", f"snapshot, {mib}", 1000,
       ",.0f") for mib in DIRTY),
    ("snapshot while a client writes, ms", "snapshot, written to", 1000, ",.0f"),
    ("a write of 4 KiB meanwhile, 99.9 %, ms", "pause, 99.9 %", 1000, ".2f"),
    ("longest write meanwhile, ms", "pause, longest", 1000, ".1f"),
    ("a write of 4 KiB before it, 99.9 %, ms", "pause, 99.9 % before", 1000, ".2f"),
    ("longest write before it, ms", "pause, longest before", 1000, ".1f"),
    ("16 TiB: snapshot with nothing written, ms", "huge, snapshot", 1000, ".1f"),
    ("16 TiB: snapshot after 4 KiB written, ms", "huge, snapshot of 4 KiB", 1000, ".1f"),
]


CHARTS = [
    ("volumes-read", "All data of a served disk read", "MiB/s with a new server, more is better", "copy, cold"),
    ("volumes-write", "Random writes of 4 KiB to it", "a second at depth 16, flushed after 32, more is better",
     "write and flush, 16"),
]


def table(rounds):
    names = [name for name in TOOLS if name in rounds[0]]
    lines = ["| | " + " | ".join(TOOLS[name].title for name in names) + " |", "|---|" + "---|" * len(names)]
    for title, key, factor, form in ROWS:
        cells = [cell(rounds, name, key, factor, form) for name in names]
        if key in ("create", "huge, create"):
            # They write to the image itself.
            cells = ["none" if TOOLS[name].in_place else of for name, of in zip(names, cells)]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    if "icecore" not in names:
        return "\n".join(lines) + "\n"
    lines += ["", "| snapshots of the served volume | icecore |", "|---|---|"]
    for title, key, factor, form in SNAPSHOT_ROWS:
        if key in rounds[0]["icecore"]:
            lines.append(f"| {title} | {format(statistics.median(of['icecore'][key] for of in rounds) * factor, form)} |")
    return "\n".join(lines) + "\n"


def cell(rounds, name, key, factor, form):
    if key not in rounds[0][name]:
        return ""
    value = format(statistics.median(of[name][key] for of in rounds) * factor, form)
    if name == "qemu-raw" or "qemu-raw" not in rounds[0] or key in ("create", "huge, create"):
        return value
    return f"{value} ({statistics.median(of[name][key] / of['qemu-raw'][key] for of in rounds):.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="shorter runs and less data, to see that it works")
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--from", dest="results", type=Path)
    options = parser.parse_args()
    # So that servers and files go in this case too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    options.out.mkdir(parents=True, exist_ok=True)
    if options.results:
        rounds = json.loads(options.results.read_text())
    elif options.image and options.work:
        rounds = run_all(options)
    else:
        parser.error("--image and --work are needed, or --from")
    told = table(rounds)
    (options.out / "volumes.md").write_text(told)
    for name, title, unit, key in CHARTS:
        bars = [(tool, statistics.median(of[tool][key] for of in rounds), ",.0f") for tool in TOOLS if tool in rounds[0]]
        (options.out / f"{name}.svg").write_text(chart(title, unit, bars))
    print(told)


if __name__ == "__main__":
    main()
