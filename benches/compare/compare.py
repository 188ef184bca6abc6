#!/usr/bin/env python3
"""Runs icecore and other programs on the same disk images, and writes a table and bar charts.

usage: compare.py --images DIR --work DIR --out DIR [--tools NAME,...] [--runs N] [--install]
       compare.py --from results.json --out DIR

DIR of --images has the images listed in IMAGES below, each as NAME.raw. Everything is read once before it is timed, so
the page cache is warm. Every step is a process of its own; time, processor time and peak memory are what the kernel
accounts to it. What a program leaves to the kernel to write is synced within its time.

icecore must be in the PATH. The others too, or --install gets them: from Debian's packages, as root, and borg from
PyPI into DIR of --work. With --from nothing is run: the table and the charts are made again from the results of a run.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMAGES = ["droplet-a.v1", "droplet-a.v2", "droplet-a.v3", "droplet-b.v1", "volume.v1", "volume.v2"]
# The last one again: an image that has not changed.
CAPTURES = IMAGES + ["volume.v2"]
RESTORED = ["droplet-a.v3", "volume.v1"]
DELETED = ["droplet-a.v1", "droplet-a.v2", "volume.v1"]


# The program of each tool, and Debian's package of it; none where it comes from elsewhere.
PROGRAMS = {
    "icecore": ("icecore", None),
    "restic": ("restic", "restic"),
    "borg": ("borg", None),
    "borg-4m": ("borg", None),
    "casync": ("casync", "casync"),
    "zbackup": ("zbackup", "zbackup"),
    "qcow2": ("qemu-img", "qemu-utils"),
}
BORG = "borgbackup==1.4.5"


def install(tools, work):
    """Gets what is missing of the programs. Needs root for Debian's packages."""
    missing = [tool for tool in tools if not shutil.which(PROGRAMS[tool][0])]
    packages = sorted({PROGRAMS[tool][1] for tool in missing} - {None})
    if packages:
        debian = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-q"], env=debian, check=True)
        subprocess.run(["apt-get", "install", "-yq", "--no-install-recommends", *packages], env=debian, check=True)
    if any(PROGRAMS[tool][0] == "borg" for tool in missing):
        subprocess.run([sys.executable, "-m", "venv", work / "venv"], check=True)
        subprocess.run([work / "venv/bin/pip", "install", "-q", BORG], check=True)


class Step:
    """One timed process, or several after each other."""

    def __init__(self):
        self.wall = self.cpu = 0.0
        self.rss = 0

    def run(self, argv, stdout=subprocess.DEVNULL, env=None, check=True):
        begun = time.monotonic()
        # The kernel takes the memory of this program for the least peak of what it starts: so it stays small.
        with tempfile.TemporaryFile() as errors:
            child = subprocess.Popen([str(a) for a in argv], stdout=stdout, stderr=errors, env={**os.environ, **(env or {})})
            self.wait(child, begun)
            errors.seek(0)
            complaint = errors.read(4096)
        if check and child.returncode not in (0, 1 if argv[0] == "borg" else 0):
            sys.exit(f"{argv}: exit code {child.returncode}\n{complaint.decode(errors='replace')}")
        return self

    def wait(self, child, begun):
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        self.wall += time.monotonic() - begun
        self.cpu += usage.ru_utime + usage.ru_stime
        self.rss = max(self.rss, usage.ru_maxrss * 1024)


class Tool:
    """What each program is asked to do. `repo` is an empty directory of its own."""

    def __init__(self, repo, images):
        self.repo, self.images, self.taken = repo, images, 0
        repo.mkdir(parents=True)

    def image(self, name):
        return self.images / f"{name}.raw"

    def init(self):
        pass

    def settings(self):
        return ""


class Icecore(Tool):
    name = "icecore"

    def call(self, *words):
        return ["icecore", "--no-progress", "--repo", self.repo / "r", *words]

    def init(self):
        Step().run(self.call("init"))

    def capture(self, name, step):
        self.taken += 1
        resource = name.split(".")[0]
        kind = "--volume" if resource == "volume" else "--droplet"
        step.run(self.call("snapshot", "create", self.image(name), kind, resource, "--name", f"{name}-{self.taken}"))

    def label(self, name):
        return f"{name}-{CAPTURES.index(name) + 1}"

    def restore(self, name, target, step):
        step.run(self.call("restore", self.label(name), target))

    def verify(self, step):
        step.run(self.call("verify", "--read-data"))

    def delete(self, names, step):
        step.run(self.call("snapshot", "delete", "--force", *map(self.label, names)))
        step.run(self.call("gc", "--max-unused", "0%"))

    def settings(self):
        return "defaults (zstd level 1)"


class Restic(Tool):
    name = "restic"
    env = {"RESTIC_PASSWORD": "x"}

    def call(self, *words):
        return ["restic", "-q", "--no-cache", "-r", self.repo / "r", *words]

    def init(self):
        Step().run(self.call("init", "--repository-version", "2"), env=self.env)

    def capture(self, name, step):
        self.taken += 1
        step.run(self.call("backup", "--force", "--tag", f"{name}-{self.taken}", self.image(name)), env=self.env)

    def snapshot(self, name):
        found = subprocess.run(
            self.call("snapshots", "--json", "--tag", f"{name}-{CAPTURES.index(name) + 1}"),
            env={**os.environ, **self.env}, check=True, stdout=subprocess.PIPE)
        return json.loads(found.stdout)[0]["id"]

    def restore(self, name, target, step):
        into = target.parent / "extracted"
        step.run(self.call("restore", self.snapshot(name), "--target", into), env=self.env)
        restored = into / str(self.image(name)).lstrip("/")
        step.run(["sync", restored])
        shutil.move(restored, target)
        shutil.rmtree(into)

    def verify(self, step):
        step.run(self.call("check", "--read-data"), env=self.env)

    def delete(self, names, step):
        step.run(self.call("forget", "--prune", *map(self.snapshot, names)), env=self.env)

    def settings(self):
        return "repository version 2, compression auto; always encrypts"


class Borg(Tool):
    name = "borg"
    chunker = "fixed,65536"
    env = {"BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}

    def init(self):
        self.env = {**self.env, "BORG_BASE_DIR": str(self.repo / "base")}
        Step().run(["borg", "init", "-e", "none", self.repo / "r"], env=self.env)

    def capture(self, name, step):
        self.taken += 1
        step.run(["borg", "create", "--chunker-params", self.chunker, "--sparse", "-C", "zstd,1", "--files-cache",
                  "disabled", f"{self.repo}/r::{name}-{self.taken}", self.image(name)], env=self.env)

    def label(self, name):
        return f"{self.repo}/r::{name}-{CAPTURES.index(name) + 1}"

    def restore(self, name, target, step):
        into = target.parent / "extracted"
        into.mkdir()
        here = os.getcwd()
        os.chdir(into)
        step.run(["borg", "extract", "--sparse", self.label(name)], env=self.env)
        os.chdir(here)
        restored = into / str(self.image(name)).lstrip("/")
        step.run(["sync", restored])
        shutil.move(restored, target)
        shutil.rmtree(into)

    def verify(self, step):
        step.run(["borg", "check", "--verify-data", f"{self.repo}/r"], env=self.env)

    def delete(self, names, step):
        for name in names:
            step.run(["borg", "delete", self.label(name)], env=self.env)
        step.run(["borg", "compact", "--threshold", "0", f"{self.repo}/r"], env=self.env)

    def settings(self):
        return f"chunks {self.chunker}, --sparse, zstd,1, no encryption"


class BorgFixed4M(Borg):
    name = "borg-4m"
    chunker = "fixed,4194304"


class Casync(Tool):
    name = "casync"

    def capture(self, name, step):
        self.taken += 1
        step.run(["casync", "make", f"--store={self.repo}/store.castr", self.index(name, self.taken), self.image(name)])
        step.run(["sync", "-f", self.repo])

    def index(self, name, number=None):
        return self.repo / f"{name}-{number or CAPTURES.index(name) + 1}.caibx"

    def restore(self, name, target, step):
        step.run(["casync", "extract", f"--store={self.repo}/store.castr", self.index(name), target])
        step.run(["sync", target])

    def verify(self, step):
        for index in sorted(self.repo.glob("*.caibx")):
            step.run(["casync", "digest", f"--store={self.repo}/store.castr", index])

    def delete(self, names, step):
        for name in names:
            self.index(name).unlink()
        step.run(["casync", "gc", f"--store={self.repo}/store.castr", *sorted(self.repo.glob("*.caibx"))])

    def settings(self):
        return "defaults (content-defined chunks of 64 KiB, zstd)"


class Zbackup(Tool):
    name = "zbackup"

    def init(self):
        Step().run(["zbackup", "init", "--non-encrypted", self.repo / "r", "-o", "bundle.compression_method=lzo"])

    def backup(self, name, number=None):
        return f"{self.repo}/r/backups/{name}-{number or CAPTURES.index(name) + 1}"

    def capture(self, name, step):
        self.taken += 1
        step.run(["sh", "-c", f"exec zbackup --silent --non-encrypted backup '{self.backup(name, self.taken)}' "
                              f"<'{self.image(name)}'"])

    def restore(self, name, target, step):
        step.run(["sh", "-c", f"exec zbackup --silent --non-encrypted restore '{self.backup(name)}' >'{target}'"])
        step.run(["sync", target])

    def verify(self, step):
        for number, name in enumerate(CAPTURES, 1):
            step.run(["zbackup", "--silent", "--non-encrypted", "restore", self.backup(name, number)])

    def delete(self, names, step):
        for name in names:
            os.unlink(self.backup(name))
        step.run(["zbackup", "--silent", "--non-encrypted", "gc", self.repo / "r"])

    def settings(self):
        return "bundles compressed with lzo, no encryption"


class Qcow2(Tool):
    name = "qcow2"

    def file(self, name, number=None):
        return self.repo / f"{name}-{number or CAPTURES.index(name) + 1}.qcow2"

    def capture(self, name, step):
        self.taken += 1
        step.run(["qemu-img", "convert", "-q", "-W", "-m", "8", "-c", "-O", "qcow2", "-o", "compression_type=zstd",
                  self.image(name), self.file(name, self.taken)])
        step.run(["sync", "-f", self.repo])

    def restore(self, name, target, step):
        step.run(["qemu-img", "convert", "-q", "-W", "-m", "8", "-O", "raw", self.file(name), target])
        step.run(["sync", target])

    def verify(self, step):
        for file in sorted(self.repo.glob("*.qcow2")):
            step.run(["qemu-img", "check", "-q", file])

    def delete(self, names, step):
        for name in names:
            self.file(name).unlink()

    def settings(self):
        return "a compressed file for each (zstd); verify checks structure only"


TOOLS = {tool.name: tool for tool in [Icecore, Restic, Borg, BorgFixed4M, Casync, Zbackup, Qcow2]}


def bytes_in(repo):
    return sum(path.lstat().st_size for path in repo.rglob("*") if path.is_file() and "base" not in path.parts)


def read_once(path):
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(1 << 20)
        while file.readinto(buffer):
            pass


def one_run(tool_class, images, work):
    repo = work / tool_class.name
    shutil.rmtree(repo, ignore_errors=True)
    tool = tool_class(repo, images)
    tool.init()
    steps, sizes, before = {}, [], bytes_in(repo)
    for number, name in enumerate(CAPTURES, 1):
        read_once(tool.image(name))
        step = Step()
        tool.capture(name, step)
        steps[f"capture {number} {name}"] = step
        sizes.append(bytes_in(repo))
    for path in repo.rglob("*"):
        if path.is_file():
            read_once(path)
    for name in RESTORED:
        target = work / "restored.raw"
        target.unlink(missing_ok=True)
        step = Step()
        tool.restore(name, target, step)
        steps[f"restore {name}"] = step
        if subprocess.run(["cmp", target, tool.image(name)]).returncode:
            sys.exit(f"{tool.name} restored {name} wrongly")
        target.unlink()
    step = Step()
    tool.verify(step)
    steps["verify"] = step
    step = Step()
    tool.delete(DELETED, step)
    steps["delete"] = step
    result = {
        "settings": tool.settings(),
        "steps": {name: {"wall": s.wall, "cpu": s.cpu, "rss": s.rss} for name, s in steps.items()},
        "empty": before,
        "sizes": sizes,
        "after_delete": bytes_in(repo),
    }
    shutil.rmtree(repo)
    return result


def run_all(options):
    tools = options.tools.split(",")
    options.work.mkdir(parents=True, exist_ok=True)
    work, images = options.work.resolve(), options.images.resolve()
    os.environ["PATH"] += f":{work}/venv/bin"
    if options.install:
        install(tools, work)
    missing = sorted({PROGRAMS[tool][0] for tool in tools if not shutil.which(PROGRAMS[tool][0])})
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}; --install gets all but icecore, --tools leaves some out")
    runs = {}
    for run in range(options.runs):
        for name in tools:
            print(f"run {run + 1}: {name}", file=sys.stderr, flush=True)
            runs.setdefault(name, []).append(one_run(TOOLS[name], images, work))
            # What is measured is kept, whatever the next program does.
            (options.out / "results.json").write_text(json.dumps(runs, indent=1))
    return runs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--from", dest="results", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.results:
        runs = json.loads(options.results.read_text())
    elif options.images and options.work:
        runs = run_all(options)
    else:
        parser.error("--images and --work are needed, or --from")
    (options.out / "table.md").write_text(table(runs))
    for name, title, unit, value, form in CHARTS:
        bars = [(tool, median(of_tool, value), form) for tool, of_tool in runs.items()]
        (options.out / f"{name}.svg").write_text(chart(title, unit, bars))
    print(table(runs))


def median(runs, value):
    return statistics.median(value(run) for run in runs)


def captures(run, field):
    return [step[field] for name, step in run["steps"].items() if name.startswith("capture")]


ROWS = [
    ("all captures, s", lambda r: sum(captures(r, "wall")), ".1f"),
    ("processor time of them, s", lambda r: sum(captures(r, "cpu")), ".1f"),
    ("capture of the first image, s", lambda r: captures(r, "wall")[0], ".1f"),
    ("capture after 1 % changed, s", lambda r: captures(r, "wall")[5], ".1f"),
    ("capture of an unchanged image, s", lambda r: captures(r, "wall")[6], ".1f"),
    ("peak memory of captures, MiB", lambda r: max(captures(r, "rss")) / 2**20, ".0f"),
    ("repository after all, MB", lambda r: r["sizes"][-1] / 1e6, ".0f"),
    ("added by the second droplet, MB", lambda r: (r["sizes"][3] - r["sizes"][2]) / 1e6, ".1f"),
    ("added by 1 % changed, MB", lambda r: (r["sizes"][5] - r["sizes"][4]) / 1e6, ".1f"),
    ("added by an unchanged image, MB", lambda r: (r["sizes"][6] - r["sizes"][5]) / 1e6, ".2f"),
    ("restore of droplet-a.v3, s", lambda r: r["steps"]["restore droplet-a.v3"]["wall"], ".1f"),
    ("restore of volume.v1, s", lambda r: r["steps"]["restore volume.v1"]["wall"], ".1f"),
    ("verify with all data, s", lambda r: r["steps"]["verify"]["wall"], ".1f"),
    ("delete three and reclaim, s", lambda r: r["steps"]["delete"]["wall"], ".1f"),
    ("repository after that, MB", lambda r: r["after_delete"] / 1e6, ".0f"),
]


def table(runs):
    lines = ["| | " + " | ".join(runs) + " |", "|---|" + "---|" * len(runs)]
    for title, value, form in ROWS:
        cells = [format(median(of_tool, value), form) for of_tool in runs.values()]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines += ["", "Settings: " + "; ".join(f"{name}: {of[0]['settings']}" for name, of in runs.items()) + "."]
    return "\n".join(lines) + "\n"


CHARTS = [
    ("captures", "Seven captures of disk images", "seconds, less is better", lambda r: sum(captures(r, "wall")), ".1f"),
    ("size", "Repository after seven captures", "MB, less is better", lambda r: r["sizes"][-1] / 1e6, ",.0f"),
    ("restore", "Restore of two of them", "seconds, less is better",
     lambda r: sum(r["steps"][f"restore {name}"]["wall"] for name in RESTORED), ".1f"),
    ("memory", "Peak memory of the captures", "MiB, less is better",
     lambda r: max(captures(r, "rss")) / 2**20, ".0f"),
]


def chart(title, unit, bars):
    """Horizontal bars as SVG. The background is part of it, so that it looks the same on dark pages."""
    width, left, right, top, row, thick = 720, 96, 80, 72, 32, 20
    height = top + row * len(bars) + 14
    scale = (width - left - right) / max(value for _, value, _ in bars)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'role="img" font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">',
        f"<title>{title}: " + ", ".join(f"{name} {value:{form}}" for name, value, form in bars) + f" ({unit})</title>",
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" fill="#fff" stroke="#d0d7de"/>',
        f'<text x="20" y="32" font-size="17" font-weight="600" fill="#1f2328">{title}</text>',
        f'<text x="20" y="53" font-size="13" fill="#59636e">{unit}</text>',
        f'<path d="M{left} {top - 4}V{height - 10}" stroke="#d0d7de"/>',
    ]
    for number, (name, value, form) in enumerate(bars):
        y, length, ours = top + row * number + (row - thick) / 2, value * scale, name == "icecore"
        fill, weight = ("#0969da", 600) if ours else ("#a8b3bf", 400)
        text = f'y="{y + thick / 2:g}" dy="0.35em" font-size="14" font-weight="{weight}" fill="#1f2328"'
        lines += [
            f'<text x="{left - 10}" {text} text-anchor="end">{name}</text>',
            f'<rect x="{left}" y="{y:g}" width="{max(length, 1):.1f}" height="{thick}" rx="2" fill="{fill}"/>',
            f'<text x="{left + length + 8:.1f}" {text}>{value:{form}}</text>',
        ]
    return "\n".join(lines + ["</svg>"]) + "\n"


if __name__ == "__main__":
    main()
