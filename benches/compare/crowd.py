#!/usr/bin/env python3
"""Measures how clients with a token fare while others attack the server: idle connections, slow heads, slow bodies, resets,
nonsense, and floods of requests without a token.

usage: crowd.py --work EMPTY_DIR [--icecore PROGRAM]... [--minutes N] [--clients N] [--idle N]

Each program serves a repository in DIR for N minutes while it is attacked, and for a tenth of that alone before. Clients with
a token create, read, snapshot and delete volumes all the time, half of them with a new connection for each request. An answer
that is not the right one, a broken connection included, is wrong. The script ends with 1 if there is one under the last program.
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import random
import resource
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

CONFIG = """
[server]
listen = "127.0.0.1:0"
state_dir = "state"
[regions.local]
repository = "repository"
[log]
level = "warn"
"""
# How many tasks each attack has. The idle connections are told on the command line.
ATTACKS = {"slow_heads": 200, "slow_bodies": 200, "resets": 8, "nonsense": 4, "flood": 8}
# Seconds between two bytes of a slow client.
DRIP = 2.0


class Client(threading.Thread):
    """A client with a token, which checks every answer."""

    def __init__(self, number, port, token, fresh, until):
        super().__init__(daemon=True)
        self.number, self.port, self.fresh, self.until = number, port, fresh, until
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.times, self.wrong, self.connection = [], [], None

    def ask(self, method, path, body, status, check):
        began = time.monotonic()
        try:
            if self.fresh or self.connection is None:
                if self.connection:
                    self.connection.close()
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            self.connection.request(method, path, body and json.dumps(body), self.headers)
            answer = self.connection.getresponse()
            text = answer.read()
            self.times.append(time.monotonic() - began)
            shown = json.loads(text) if text else None
            if answer.status == status and check(shown):
                return shown
            problem = f"{answer.status} {text[:200]!r}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = repr(error)
            self.connection.close()
            self.connection = None
        self.wrong.append(f"{method} {path}: {problem}")
        return None

    def run(self):
        count = 0
        while time.monotonic() < self.until:
            count += 1
            name = f"c{self.number}-{count}"
            new = {"name": name, "region": "local", "size_gigabytes": 1}
            made = self.ask("POST", "/v2/volumes", new, 201, lambda it: it["volume"]["name"] == name)
            if made is None:
                continue
            volume = f"/v2/volumes/{made['volume']['id']}"
            self.ask("GET", volume, None, 200, lambda it: it["volume"]["name"] == name)
            taken = self.ask("POST", f"{volume}/snapshots", {"name": name}, 201, lambda it: it["snapshot"]["name"] == name)
            self.ask("GET", f"/v2/volumes?name={name}", None, 200, lambda it: it["meta"]["total"] == 1)
            self.ask("GET", "/v2/account", None, 200, lambda it: it["account"]["status"] == "active")
            self.ask("DELETE", volume, None, 204, lambda it: it is None)
            self.ask("GET", volume, None, 404, lambda it: it["id"] == "not_found")
            if taken:
                self.ask("DELETE", f"/v2/snapshots/{taken['snapshot']['id']}", None, 204, lambda it: it is None)


async def connect(port, source):
    """Opens a connection from one of many addresses of this machine, which have ports enough for all."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    try:
        sock.bind((f"127.0.{source}.{random.randint(1, 50)}", 0))
        await asyncio.wait_for(loop.sock_connect(sock, ("127.0.0.1", port)), 10)
    except BaseException:
        sock.close()
        raise
    return sock


async def ended(sock, seconds):
    """Reads until the server closes the connection, at most for some time."""
    loop = asyncio.get_running_loop()

    async def all_of_it():
        while await loop.sock_recv(sock, 65536):
            pass

    try:
        await asyncio.wait_for(all_of_it(), seconds)
    except TimeoutError:
        pass


async def idle(port, loop):
    sock = await connect(port, 1)
    try:
        await ended(sock, 3600)
    finally:
        sock.close()


async def drip(port, loop, head):
    sock = await connect(port, 2)
    try:
        await loop.sock_sendall(sock, head)
        while True:
            await asyncio.sleep(DRIP)
            await loop.sock_sendall(sock, b"x")
    finally:
        sock.close()


async def slow_heads(port, loop):
    await drip(port, loop, b"GET /v2/account HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")


async def slow_bodies(port, loop):
    await drip(port, loop, b"POST /v2/volumes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")


async def resets(port, loop):
    sock = await connect(port, 3)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await loop.sock_sendall(sock, random.choice([b"", b"GET /v2/acc", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"]))
    await asyncio.sleep(random.random() / 50)
    sock.close()


async def nonsense(port, loop):
    sock = await connect(port, 4)
    try:
        await loop.sock_sendall(sock, random.choice([os.urandom(300) + b"\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20000 + b"\r\n"]))
        await ended(sock, 5)
    finally:
        sock.close()
    await asyncio.sleep(0.02)


async def flood(port, loop):
    sock = await connect(port, 5)
    try:
        path = random.choice(["/healthz", "/v2/account", "/sign-in", "/v2/nothing"])
        await loop.sock_sendall(sock, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        await ended(sock, 5)
    finally:
        sock.close()
    await asyncio.sleep(0.005)


def attack(name, port, tasks, counter):
    """Runs an attack in a process of its own, until that is ended."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def forever(begin):
        loop = asyncio.get_running_loop()
        await asyncio.sleep(begin)
        while True:
            try:
                await globals()[name](port, loop)
            except (OSError, TimeoutError):
                await asyncio.sleep(0.1)
            with counter.get_lock():
                counter.value += 1

    async def all_of_them():
        await asyncio.gather(*(forever(number / tasks * 5) for number in range(tasks)))

    asyncio.run(all_of_them())


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1000


def work(port, token, clients, seconds):
    """Lets clients work, and returns their times and their wrong answers."""
    until = time.monotonic() + seconds
    all_of_them = [Client(number, port, token, number % 2 == 0, until) for number in range(clients)]
    for client in all_of_them:
        client.start()
    for client in all_of_them:
        client.join()
    return [t for c in all_of_them for t in c.times], [w for c in all_of_them for w in c.wrong]


def tell(what, times, wrong):
    if not times:
        print(f"{what}: no answer; {len(wrong)} wrong", flush=True)
        return
    print(f"{what}: {len(times)} answers, p50 {percentile(times, 0.5):.1f} ms, p99 {percentile(times, 0.99):.1f} ms, "
          f"worst {max(times) * 1000:.0f} ms; {len(wrong)} wrong", flush=True)
    kinds = {}
    for problem in wrong:
        kind = problem.split(": ", 1)[1][:90]
        kinds[kind] = kinds.get(kind, 0) + 1
    for kind, count in sorted(kinds.items(), key=lambda item: -item[1])[:5]:
        print(f"    {count} times {kind}", flush=True)


def measure(program, directory, options):
    """Measures one program, and returns how many wrong answers it gave."""
    directory.mkdir()
    (directory / "server.toml").write_text(CONFIG)
    config = ["--config", directory / "server.toml"]
    token = subprocess.run([program, "token", "create", "crowd", *config], check=True, capture_output=True, text=True)
    token = token.stdout.split()[-1]
    log = open(directory / "log", "wb")
    server = subprocess.Popen([program, "serve", *config], stdout=subprocess.PIPE, stderr=log, text=True)
    attackers = []
    try:
        port = int(server.stdout.readline().rsplit(":", 1)[1])
        tell(f"{program}, alone", *work(port, token, options.clients, options.minutes * 6))
        counters = {}
        for name, tasks in {"idle": options.idle, **ATTACKS}.items():
            counters[name] = multiprocessing.Value("Q", 0)
            attackers.append(multiprocessing.Process(target=attack, args=(name, port, tasks, counters[name]), daemon=True))
            attackers[-1].start()
        time.sleep(10)
        times, wrong = work(port, token, options.clients, options.minutes * 60)
        counts = ", ".join(f"{name} {counter.value}" for name, counter in counters.items())
        tell(f"{program}, under attack", times, wrong)
        print(f"    connections of attackers: {counts}", flush=True)
        memory = Path(f"/proc/{server.pid}/status").read_text()
        print("    memory of the server: " + next(line.split(":")[1].strip() for line in memory.splitlines() if line.startswith("VmHWM")))
        return len(wrong) + (server.poll() is not None)
    finally:
        for attacker in attackers:
            attacker.kill()
        server.terminate()
        server.wait()
        log.close()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--work", required=True, type=Path)
    options.add_argument("--icecore", action="append")
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--clients", type=int, default=4)
    options.add_argument("--idle", type=int, default=10_000)
    options = options.parse_args()
    options.work.mkdir(exist_ok=True)
    wrong = 0
    for number, program in enumerate(options.icecore or ["icecore"]):
        directory = options.work / f"crowd-{number}"
        try:
            wrong = measure(program, directory, options)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
