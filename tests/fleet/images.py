"""Images that look like disks: parts of an ext4 file system, changed a little each time."""

import hashlib
import shutil
import subprocess
from pathlib import Path

BLOCK = 4096


def file_system(work, megabytes=24):
    """Returns the bytes of a file system with this repository's own files in it."""
    files, image = work / "files", work / "pool.img"
    root = Path(__file__).resolve().parents[2]
    for name in ["crates", "docs", "benches"]:
        ignored = shutil.ignore_patterns("target", "node_modules", "corpus")
        shutil.copytree(root / name, files / name, ignore=ignored, symlinks=True)
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-b", str(BLOCK), "-d", files, image, f"{megabytes}M"]
    subprocess.run(command, check=True, capture_output=True)
    pool = image.read_bytes()
    shutil.rmtree(files)
    image.unlink()
    return pool


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Image:
    """A disk of a machine: its content, and a file with it."""

    def __init__(self, path, pool, random, most):
        self.path, self.pool, self.random, self.most = path, pool, random, most
        # Few beginnings, so that machines share blocks.
        begin = random.randrange(3) * len(pool) // 4
        self.data = bytearray(pool[begin : begin + random.randrange(1 << 20, most)])
        self.past = []

    def change(self):
        """Changes some of it, or goes back to what it was once, and writes the file. Returns the digest."""
        self.past = [*self.past[-5:], bytes(self.data)]
        if self.random.random() < 0.15:
            # What was deleted comes back.
            self.data = bytearray(self.random.choice(self.past))
        else:
            for _ in range(self.random.randrange(1, 6)):
                self.edit()
        self.path.write_bytes(self.data)
        return digest(self.data)

    def edit(self):
        at = self.random.randrange(len(self.data)) // BLOCK * BLOCK
        length = min(self.random.choice([512, BLOCK, 10_000, 64 << 10, 300_000]), len(self.data) - at)
        kind = self.random.random()
        if kind < 0.4:
            begin = self.random.randrange(len(self.pool) - length)
            self.data[at : at + length] = self.pool[begin : begin + length]
        elif kind < 0.7:
            self.data[at : at + length] = self.random.randbytes(length)
        elif kind < 0.85:
            self.data[at : at + length] = bytes(length)
        elif kind < 0.95 and len(self.data) + length <= self.most:
            self.data += self.random.randbytes(length)
        elif len(self.data) > 2 << 20:
            del self.data[len(self.data) - length :]
