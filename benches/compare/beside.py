#!/usr/bin/env python3
"""Measures what commands wait for each other: workers that create and delete snapshots while gc runs again and again, and how
long one gc holds the lock that all of them need.

usage: beside.py --work DIR [--icecore PROGRAM]... [--workers N] [--rounds N] [--gib N,...]

Several programs, for example one of before a change and one of after, take turns on the same input. DIR gets repositories and
images of some GiB, which are removed. The median and the worst of all times are told, in milliseconds.
"""

import argparse
import fcntl
import os
import random
import shutil
import statistics
import subprocess
import threading
import time
from pathlib import Path

IMAGE_MIB = 64
# Blocks that a worker overwrites before each capture.
CHANGED = 256
BLOCK = 4096


def run(program, repo, *arguments):
    """Runs one command and returns how long it took, in seconds."""
    began = time.monotonic()
    done = subprocess.run([program, "--repo", repo, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)}: {done.returncode}: {done.stderr}")
    return time.monotonic() - began


def fill(path, mib, seed):
    source = random.Random(seed)
    with open(path, "wb") as file:
        for _ in range(mib):
            # Half of it compresses.
            file.write(source.randbytes(1 << 19) + source.randbytes(4096) * 128)


def scribble(path, blocks, source):
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        for _ in range(blocks):
            file.seek(source.randrange(size // BLOCK) * BLOCK)
            file.write(source.randbytes(BLOCK))


def worker(program, repo, image, name, rounds, times):
    """Captures an image again and again, each time changed a little, and deletes the snapshot before the last."""
    source = random.Random(name)
    for number in range(rounds):
        scribble(image, CHANGED, source)
        times["create"].append(run(program, repo, "snapshot", "create", image, "--volume", name, "--name", f"{name}-{number}"))
        if number > 1:
            times["delete"].append(run(program, repo, "snapshot", "delete", f"{name}-{number - 2}", "--force"))


def crowd(program, work, workers, rounds, with_gc):
    """Returns the times of all commands, and how many snapshots were made in a second."""
    repo = work / "repo"
    run(program, repo, "init")
    images = [work / f"image-{number}" for number in range(workers)]
    for number, image in enumerate(images):
        fill(image, IMAGE_MIB, number)
        run(program, repo, "snapshot", "create", image, "--volume", f"w{number}", "--name", "first")
    times = {"create": [], "delete": [], "gc": []}
    ended = threading.Event()

    def collect():
        while not ended.is_set():
            times["gc"].append(run(program, repo, "gc", "--max-unused", "0%"))

    collecting = threading.Thread(target=collect)
    began = time.monotonic()
    if with_gc:
        collecting.start()
    threads = [
        threading.Thread(target=worker, args=(program, repo, image, f"w{number}", rounds, times))
        for number, image in enumerate(images)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    seconds = time.monotonic() - began
    ended.set()
    if with_gc:
        collecting.join()
    run(program, repo, "verify")
    shutil.rmtree(repo)
    [image.unlink() for image in images]
    return times, workers * rounds / seconds


def hold(program, work, gib):
    """Returns how long a gc took that rewrites about so much, and the longest that somebody waited for the commit lock meanwhile."""
    repo, image = work / "repo", work / "image"
    run(program, repo, "init")
    fill(image, gib << 10, 7)
    run(program, repo, "snapshot", "create", image, "--volume", "v", "--name", "first")
    # Half of each chunk of the first snapshot stays in use.
    with open(image, "r+b") as file:
        for at in range(0, gib << 30, 32 * BLOCK):
            file.seek(at)
            file.write(random.randbytes(16))
    run(program, repo, "snapshot", "create", image, "--volume", "v", "--name", "second")
    run(program, repo, "snapshot", "delete", "first", "--force")
    image.unlink()
    waits, ended = [], threading.Event()

    def watch():
        lock = os.open(repo / "local/locks/journal", os.O_RDWR)
        while not ended.is_set():
            began = time.monotonic()
            fcntl.flock(lock, fcntl.LOCK_EX)
            waits.append(time.monotonic() - began)
            fcntl.flock(lock, fcntl.LOCK_UN)
            time.sleep(0.0005)

    watching = threading.Thread(target=watch)
    watching.start()
    seconds = run(program, repo, "gc", "--max-unused", "0%")
    ended.set()
    watching.join()
    run(program, repo, "verify")
    shutil.rmtree(repo)
    return seconds, max(waits)


def told(times):
    if not times:
        return "none"
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return f"median {statistics.median(ordered) * 1000:.0f}, p99 {p99 * 1000:.0f} ms ({len(ordered)})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--icecore", action="append")
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--gib", default="1,4")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for gib in filter(None, options.gib.split(",")):
        for program in options.icecore or ["icecore"]:
            seconds, longest = hold(program, options.work, int(gib))
            print(f"{program}: gc of {gib} GiB: {seconds:.1f} s, the commit lock held for {longest * 1000:.0f} ms at most", flush=True)
    for workers, with_gc in [(1, False), (options.workers, False), (options.workers, True)]:
        for program in options.icecore or ["icecore"]:
            rounds = options.rounds * (options.workers if workers == 1 else 1)
            times, rate = crowd(program, options.work, workers, rounds, with_gc)
            beside = " beside gc" if with_gc else ""
            print(f"{program}: {workers} workers{beside}: {rate:.1f} snapshots/s", flush=True)
            for kind in ("create", "delete", "gc"):
                print(f"  {kind}: {told(times[kind])}", flush=True)


if __name__ == "__main__":
    main()
