#!/usr/bin/env python3
"""Measures how long clients of a served volume wait for 4 KiB while another client trims 2 GiB in one request, and while
snapshots are taken.

usage: waits.py --work DIR [--icecore PROGRAM]... [--rounds N] [--pieces N]

Several programs, for example one of before a change and one of after, take turns. DIR gets a repository of some GiB, which is
removed. What is trimmed was written in so many pieces, in random order, with gaps between them. One client reads and one writes
random blocks of 64 MiB beside it, one request at a time; the 99.9th percentile and the longest of their waits are told, in
milliseconds, and how long the trims and the snapshots took.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True
from volumes import MIB, Client

TRIMMED = 2048 * MIB
BESIDE = 64 * MIB
BLOCK = 4096
TRIM = 4


class Asking(threading.Thread):
    """A client that reads or writes a block, again and again, until it is told to end."""

    def __init__(self, socket, writes):
        super().__init__()
        self.client, self.writes, self.ended, self.waits = Client(socket), writes, threading.Event(), []

    def run(self):
        source = random.Random(self.writes)
        block = source.randbytes(BLOCK)
        while not self.ended.is_set():
            at = TRIMMED + source.randrange(BESIDE // BLOCK) * BLOCK
            began = time.monotonic()
            if self.writes:
                self.client.write(at, block)
            else:
                self.client.read(at, BLOCK)
            self.waits.append(time.monotonic() - began)
        self.client.close()


def waits_during(socket, what):
    """Does something while two clients ask. Returns the waits of the one that reads and of the one that writes."""
    asking = [Asking(socket, writes) for writes in (False, True)]
    [client.start() for client in asking]
    time.sleep(0.2)
    what()
    [client.ended.set() for client in asking]
    [client.join() for client in asking]
    return [client.waits for client in asking]


def fill(client, pieces, source):
    stride = TRIMMED // pieces // BLOCK * BLOCK
    length = stride // 2 // BLOCK * BLOCK
    for number in source.sample(range(pieces), pieces):
        client.write(number * stride, source.randbytes(BLOCK) * (length // BLOCK))
    client.flush()


class Served:
    """A volume that a program serves."""

    def __init__(self, program, work):
        self.command = [program, "-q", "--no-progress", "--repo", work / "repo"]
        self.socket, self.repo, self.taken = work / "socket", work / "repo", 0
        self.call("init")
        self.call("volume", "create", "disk", "--size", str(TRIMMED + BESIDE))
        self.server = subprocess.Popen([*self.command, "volume", "serve", "disk", "--socket", self.socket], stdout=subprocess.DEVNULL)
        while not self.socket.exists():
            if self.server.poll() is not None:
                sys.exit("the server ended")
            time.sleep(0.01)
        self.client = Client(self.socket)

    def call(self, *words):
        began = time.monotonic()
        done = subprocess.run([*self.command, *words], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{words}: {done.returncode}: {done.stderr}")
        return time.monotonic() - began

    def trim(self):
        began = time.monotonic()
        self.client.request(TRIM, 0, TRIMMED)
        return time.monotonic() - began

    def snapshot(self):
        self.taken += 1
        return self.call("volume", "snapshot", "disk", "--name", f"s{self.taken}")

    def end(self):
        self.client.close()
        self.server.terminate()
        self.server.wait()
        shutil.rmtree(self.repo)


def one_round(served, pieces, found, source):
    """Nothing else, a trim, and a trim during which a snapshot is taken."""

    def note(key, waits):
        for kind, times in zip(("reads", "writes"), waits):
            found.setdefault((key, kind), []).extend(times)

    note("alone", waits_during(served.socket, lambda: time.sleep(1)))
    fill(served.client, pieces, source)
    note("trim", waits_during(served.socket, lambda: found.setdefault("trim", []).append(served.trim())))
    fill(served.client, pieces, source)

    def both():
        trimming = threading.Thread(target=lambda: found.setdefault("trim beside a snapshot", []).append(served.trim()))
        trimming.start()
        found.setdefault("snapshot", []).append(served.snapshot())
        trimming.join()

    note("trim and snapshot", waits_during(served.socket, both))
    fill(served.client, pieces, source)
    note("snapshot", waits_during(served.socket, lambda: found["snapshot"].append(served.snapshot())))
    served.trim()


def tell(program, found):
    for key, times in found.items():
        if isinstance(key, str):
            print(f"{program}: {key}: median {statistics.median(times):.2f} s", flush=True)
            continue
        ordered = sorted(times)
        worst = ordered[min(len(ordered) - 1, len(ordered) * 999 // 1000)]
        print(f"{program}: {key[1]} of 4 KiB, {key[0]}: 99.9 % {worst * 1000:.1f}, longest {ordered[-1] * 1000:.1f} ms ({len(ordered)})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--icecore", action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pieces", type=int, default=20_000)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    # Threads of Python take turns; shorter ones measure shorter waits.
    sys.setswitchinterval(0.0005)
    source = random.Random(1)
    programs = options.icecore or ["icecore"]
    all_found = {program: {} for program in programs}
    for _ in range(options.rounds):
        for program in programs:
            served = Served(program, options.work)
            try:
                one_round(served, options.pieces, all_found[program], source)
            finally:
                served.end()
    for program, found in all_found.items():
        tell(os.path.basename(program), found)


if __name__ == "__main__":
    main()
