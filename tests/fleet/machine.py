"""A machine of the fleet: a home of its own, two disks, some volumes, and one command after another."""

import collections
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import time
from pathlib import Path

import images
import nbd
import store

DONE, NOT_FOUND, IN_USE, CORRUPT = 0, 3, 5, 6

Done = collections.namedtuple("Done", "code out err killed seconds")


class Wrong(Exception):
    """Something that must not happen."""


class Fleet:
    """What all machines share."""

    def __init__(self, program, endpoint, ledger, log, bound, pool, most):
        self.program, self.endpoint, self.ledger, self.log = program, endpoint, ledger, log
        # Seconds that no command takes unless it waits for something that does not come.
        self.bound = bound
        self.pool, self.most = pool, most
        self.counts = collections.Counter()
        self.seconds = collections.defaultdict(lambda: collections.deque([0.5], 20))
        self.begun = time.monotonic()

    def note(self, machine, command, done):
        verb = " ".join(word for word in command[:2] if word.isalpha())
        how = "killed" if done.killed else {DONE: "done", NOT_FOUND: "gone", IN_USE: "in use"}.get(done.code, "failed")
        self.counts[verb, how] += 1
        if not done.killed:
            self.seconds[verb].append(done.seconds)
        line = {"at": round(time.monotonic() - self.begun, 3), "machine": machine, "command": command, "how": how}
        line |= {"code": done.code, "seconds": round(done.seconds, 3), "err": done.err[-2000:]}
        self.log.write(json.dumps(line) + "\n")

    def usual_seconds(self, command):
        return statistics.median(self.seconds[" ".join(word for word in command[:2] if word.isalpha())])


class Machine:
    def __init__(self, fleet, name, work, random):
        self.fleet, self.name, self.random = fleet, name, random
        self.ledger = fleet.ledger
        self.dir = work / name
        self.dir.mkdir()
        # Short names: those of sockets are limited.
        self.environment = {
            "HOME": str(self.dir),
            "XDG_STATE_HOME": str(self.dir / "s"),
            "XDG_CACHE_HOME": str(self.dir / "c"),
            "XDG_CONFIG_HOME": str(self.dir / "f"),
            "XDG_RUNTIME_DIR": str(self.dir / "r"),
            "PATH": os.environ["PATH"],
            "AWS_ENDPOINT_URL": fleet.endpoint,
            "AWS_ACCESS_KEY_ID": store.ACCESS,
            "AWS_SECRET_ACCESS_KEY": store.SECRET,
            "AWS_REGION": store.REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "ICECORE_REPO": f"s3://{store.BUCKET}/disks",
        }
        self.made = 0
        # The content of each volume, by its name.
        self.volumes = {}
        self.disks = {}

    # Commands.

    def start(self, command):
        outs = [open(self.dir / name, "w+") for name in ("out", "err")]
        arguments = [self.fleet.program, "-o", "json", *command]
        child = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=outs[0], stderr=outs[1], env=self.environment, cwd=self.dir
        )
        return child, outs, time.monotonic()

    def finish(self, command, started, kill_after=None):
        child, outs, begun = started
        killed = False
        try:
            child.wait(self.fleet.bound if kill_after is None else kill_after)
        except subprocess.TimeoutExpired:
            waits = waits_of(child.pid)
            child.kill()
            child.wait()
            killed = True
            if kill_after is None:
                raise Wrong(f"{self.name}: {command} has not ended after {self.fleet.bound} s: {waits}") from None
        texts = []
        for out in outs:
            out.seek(0)
            texts.append(out.read())
            out.close()
        done = Done(child.returncode, *texts, killed, time.monotonic() - begun)
        self.fleet.note(self.name, command, done)
        if "panicked" in done.err or (done.code < 0 and not killed):
            raise Wrong(f"{self.name}: {command}: {done}")
        return done

    def run(self, *command, may=()):
        """Runs a command, and kills one of three on its way. Fails unless it ends well, or as it may."""
        command = [str(word) for word in command]
        kill_after = None
        if self.random.random() < 1 / 3:
            kill_after = self.random.random() * 1.2 * self.fleet.usual_seconds(command)
        return self.check(command, self.finish(command, self.start(command), kill_after), may)

    def ask(self, *command, may=()):
        """Runs a command to its end."""
        command = [str(word) for word in command]
        return self.check(command, self.finish(command, self.start(command)), may)

    def check(self, command, done, may):
        if not done.killed and done.code != DONE and done.code not in may:
            raise Wrong(f"{self.name}: {command}: {done}")
        return done

    def result(self, *command):
        return json.loads(self.ask(*command).out)["result"]

    # What a machine does.

    def step(self, weights):
        """Does something."""
        verb = self.random.choices(list(weights), list(weights.values()))[0]
        getattr(self, verb)()

    def new_name(self):
        self.made += 1
        return f"{self.name}-{self.made}"

    def pick(self):
        """Chooses a snapshot that is there, or may be."""
        names = self.ledger.names()
        return self.random.choice(names) if names else None

    def read(self, names, *command):
        """Runs a command that reads snapshots. It may fail where one of them may be gone, before or afterwards."""
        must_be_there = [self.ledger.must_be_there(name) for name in names]
        done = self.run(*command, may=[NOT_FOUND, CORRUPT])
        must_be_there += [self.ledger.must_be_there(name) for name in names]
        if done.code in (NOT_FOUND, CORRUPT) and all(must_be_there):
            raise Wrong(f"{self.name}: {names} must be there: {command}: {done}")
        return done

    def capture(self):
        # A disk of its own, or one that many machines take for the same.
        resource = self.random.choice([f"{self.name}-disk", "shared-disk"])
        if resource not in self.disks:
            self.disks[resource] = images.Image(self.dir / f"{resource}.raw", self.fleet.pool, self.random, self.fleet.most)
        disk = self.disks[resource]
        name = self.new_name()
        self.ledger.begin(name, resource, disk.change())
        if not self.run("snapshot", "create", disk.path, "--name", name, "--volume", resource).killed:
            self.ledger.report(name)

    def restore(self):
        if name := self.pick():
            target = self.dir / "restored"
            target.unlink(missing_ok=True)
            if self.read([name], "restore", name, target).code == DONE:
                self.compare(target, self.ledger.digest(name), name)
            target.unlink(missing_ok=True)

    def compare(self, path, digest, what):
        if images.digest(path.read_bytes()) != digest:
            raise Wrong(f"{self.name}: {what} is another image: see {path}")

    def delete(self):
        if not (name := self.pick()):
            return
        clones = self.random.choice([[], ["--keep-clones"]])
        with self.leaving(lambda it: it.name == name) as gone:
            # A volume may stand on it.
            done = self.run("snapshot", "delete", "-f", *clones, name, may=[NOT_FOUND, IN_USE])
            gone(None if done.killed else [name] if done.code == DONE else [])

    def prune(self):
        resource = self.random.choice([f"{self.name}-disk", "shared-disk"])
        last = self.random.randrange(1, 6)
        with self.leaving(lambda it: it.resource == resource) as gone:
            done = self.run("snapshot", "prune", "-f", "--keep-last", last, "--of", resource, may=[NOT_FOUND, IN_USE])
            # What is in use stays, and the others go: then it ends so as well.
            result = None if done.killed else json.loads(done.out).get("result")
            gone([snapshot["name"] for snapshot in result["deleted"]] if result else None if done.killed else [])

    @contextlib.contextmanager
    def leaving(self, chosen):
        """Until the block ends, the snapshots that are chosen may be deleted. The block says what was."""
        names = self.ledger.leave(chosen)
        gone = [None]
        try:
            yield lambda names: gone.__setitem__(0, names)
        finally:
            self.ledger.left(names, gone[0])

    def collect(self):
        grace = self.random.choice(["0s", "0s", "3s"])
        unused = self.random.choice(["0%", "5%"])
        self.run("gc", "--grace", grace, "--max-unused", unused, may=[IN_USE])

    def verify(self):
        self.run("verify", *self.random.choice([[], ["--read-data"], ["--sample", "30%"]]))

    def look(self):
        staying = self.ledger.staying()
        done = self.run("snapshot", "list")
        if not done.killed:
            listed = {snapshot["name"] for snapshot in json.loads(done.out)["result"]["snapshots"]}
            for name in staying:
                if name not in listed and self.ledger.must_be_there(name):
                    raise Wrong(f"{self.name}: {name} is not listed")
        if len(staying) > 1:
            pair = self.random.sample(staying, 2)
            self.read(pair, "snapshot", "diff", *pair)

    def forget(self):
        """Loses what was kept of the bucket."""
        shutil.rmtree(self.dir / "c", ignore_errors=True)

    # Volumes.

    def volume(self):
        if len(self.volumes) < 2 and self.random.random() < 0.6:
            self.make_volume()
        elif self.volumes:
            name = self.random.choice(list(self.volumes))
            self.random.choice([self.serve_volume, self.serve_volume, self.export_volume, self.delete_volume])(name)

    def make_volume(self):
        origin = self.pick()
        if origin is None:
            return
        name = f"v-{self.new_name()}"
        done = self.read([origin], "volume", "create", name, "--snapshot", origin)
        if done.killed or done.code == DONE:
            self.volumes[name] = None
            # One whose creation was killed is there, or is not.
            if not done.killed or name in self.listed_volumes():
                # Where others delete the origin meanwhile, its content can be told in this way only.
                target = self.dir / "exported"
                target.unlink(missing_ok=True)
                self.ask("volume", "export", name, target)
                self.compare(target, self.ledger.digest(origin), name)
                self.volumes[name] = bytearray(target.read_bytes())
            else:
                del self.volumes[name]

    def listed_volumes(self):
        return [volume["name"] for volume in self.result("volume", "list")["volumes"]]

    def export_volume(self, name):
        target = self.dir / "exported"
        target.unlink(missing_ok=True)
        if not self.run("volume", "export", name, target).killed:
            self.compare(target, images.digest(self.volumes[name]), name)
        target.unlink(missing_ok=True)

    def delete_volume(self, name):
        done = self.run("volume", "delete", "-f", name)
        if not done.killed or name not in self.listed_volumes():
            del self.volumes[name]

    def serve_volume(self, name):
        """Writes to a volume, takes a snapshot of it meanwhile, and ends its server in one way or the other."""
        command = [self.fleet.program, "-o", "json", "volume", "serve", name]
        with open(self.dir / "serve.err", "w+") as err:
            server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, env=self.environment, cwd=self.dir, text=True
            )
            try:
                self.use_volume(name, server)
            finally:
                server.kill()
                server.wait()
                server.stdout.close()

    def use_volume(self, name, server):
        line = server.stdout.readline()
        if not line:
            raise Wrong(f"{self.name}: {name} is not served: {(self.dir / 'serve.err').read_text()}")
        disk = nbd.Disk(json.loads(line)["result"]["address"], name, self.fleet.bound)
        content = self.volumes[name]
        for _ in range(self.random.randrange(1, 9)):
            length = self.random.choice([512, 4096, 20_000])
            at = self.random.randrange((len(content) - length) // 512) * 512
            data = self.random.randbytes(length)
            disk.write(at, data)
            content[at : at + length] = data
        disk.flush()
        how = "done"
        if self.random.random() < 0.7:
            how = self.snapshot_volume(name, server)
        if how == "done" and self.random.random() < 0.5:
            disk.close()
            server.terminate()
            if server.wait(self.fleet.bound) != DONE:
                raise Wrong(f"{self.name}: the server of {name}: {(self.dir / 'serve.err').read_text()}")
        else:
            # What was flushed is there.
            how = "killed"
        self.fleet.counts["volume serve", how] += 1

    def snapshot_volume(self, volume, server):
        """Takes a snapshot of a volume that is served. Its server may be killed meanwhile, or whoever asks for it."""
        snapshot = self.new_name()
        self.ledger.begin(snapshot, volume, images.digest(self.volumes[volume]))
        command = ["volume", "snapshot", volume, "--name", snapshot]
        if self.random.random() < 0.3:
            started = self.start(command)
            time.sleep(self.random.random() * self.fleet.usual_seconds(command))
            server.send_signal(signal.SIGKILL)
            # It says that it is there, or fails, or takes the snapshot itself.
            done = self.finish(command, started)
            if done.code == DONE:
                self.ledger.report(snapshot)
            return "killed"
        if not self.run(*command).killed:
            self.ledger.report(snapshot)
        return "done"


def waits_of(pid):
    """Returns what the threads of a process wait for."""
    told = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            told.append(f"{(thread / 'comm').read_text().strip()} in {(thread / 'wchan').read_text()}")
    return ", ".join(sorted(told))
