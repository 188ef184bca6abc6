#!/usr/bin/env python3
"""Prints what scattered changes cost in manifests.

scattered.py [--program icecore] --work EMPTY_DIR --image IMAGE [--generations 100] [--spread GIB]

It captures a copy of IMAGE, overwrites blocks of 4 KiB at random places that have data, with random
bytes, and captures again. `--generations` repeats that with 1 % of the blocks. `--spread` makes a
sparse image of that size instead of copying one, with a block of data in every span of 64 KiB.
"""

import argparse
import json
import os
import random
import shutil
import subprocess

BLOCK = 4096


def data_blocks(descriptor):
    """Returns the numbers of the blocks of a file that have data."""
    blocks, at = [], 0
    while True:
        try:
            begin = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:
            return blocks
        at = os.lseek(descriptor, begin, os.SEEK_HOLE)
        blocks.extend(range(begin // BLOCK, at // BLOCK))


class Scattered:
    def __init__(self, options):
        self.program, self.repo = options.program, f"{options.work}/repo"
        self.image, self.random = f"{options.work}/image.raw", random.Random(1)
        shutil.rmtree(self.repo, ignore_errors=True)
        os.makedirs(options.work, exist_ok=True)
        if options.spread:
            self.spread(options.spread << 30)
        else:
            subprocess.run(["cp", "--sparse=always", options.image, self.image], check=True)
        self.descriptor = os.open(self.image, os.O_RDWR)
        self.blocks = data_blocks(self.descriptor)
        self.icecore("init")

    def spread(self, size):
        with open(self.image, "wb") as image:
            image.truncate(size)
            for at in range(0, size, 16 * BLOCK):
                image.seek(at)
                image.write(at.to_bytes(8, "little") * (BLOCK // 8))

    def icecore(self, *words):
        run = [self.program, "--repo", self.repo, *words]
        return subprocess.run(run, check=True, capture_output=True, text=True).stdout

    def capture(self, name):
        """Captures the image, and returns how many bytes of manifest pages were new."""
        words = ["snapshot", "create", self.image, "--volume", "scattered", "--name", name, "-o", "json"]
        return json.loads(self.icecore(*words))["result"]["snapshot"]["manifest_bytes"]

    def change(self, count):
        for block in sorted(self.random.sample(self.blocks, count)):
            os.pwrite(self.descriptor, self.random.randbytes(BLOCK), block * BLOCK)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", default="icecore")
    parser.add_argument("--work", required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--image")
    source.add_argument("--spread", type=int, metavar="GIB")
    parser.add_argument("--counts", default="1,1000,10000,100000")
    parser.add_argument("--generations", type=int, default=0)
    options = parser.parse_args()
    work = Scattered(options)
    leaves = len({block // 1024 for block in work.blocks})
    print(f"{len(work.blocks)} blocks of data in {leaves} leaves")
    print(f"first: {work.capture('first')} bytes", flush=True)
    for count in map(int, filter(None, options.counts.split(","))):
        work.change(count)
        manifest = work.capture(f"changed-{count}")
        print(f"{count} changed: {manifest} bytes, {manifest / count:.1f} a block", flush=True)
    count = len(work.blocks) // 100
    costs = []
    for generation in range(1, options.generations + 1):
        work.change(count)
        costs.append(work.capture(f"generation-{generation}"))
        if generation in (1, 2, 5) or generation % 10 == 0:
            mean = sum(costs[-10:]) // len(costs[-10:])
            print(f"generation {generation}: {costs[-1]} bytes, the last ten on average {mean}", flush=True)


if __name__ == "__main__":
    main()
