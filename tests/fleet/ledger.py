"""What the fleet was told: which snapshots there are, and what is in them."""

import threading


class Snapshot:
    def __init__(self, name, resource, digest):
        self.name, self.resource, self.digest = name, resource, digest
        # A capture has said that it is there.
        self.reported = False
        # A deletion has said that it is gone.
        self.gone = False
        # A deletion was killed, which may have happened all the same.
        self.doubted = False
        # So many deletions run that may take it.
        self.leaving = 0


class Ledger:
    """All snapshots by name: no name is used twice."""

    def __init__(self):
        self.lock = threading.RLock()
        self.snapshots = {}

    def begin(self, name, resource, digest):
        """Notes a capture that begins. Whatever has this name from now on has this content."""
        with self.lock:
            self.snapshots[name] = Snapshot(name, resource, digest)

    def report(self, name):
        with self.lock:
            self.snapshots[name].reported = True

    def must_be_there(self, name):
        with self.lock:
            it = self.snapshots[name]
            return it.reported and not (it.gone or it.doubted or it.leaving)

    def must_be_gone(self, name):
        with self.lock:
            return self.snapshots[name].gone

    def leave(self, chosen):
        """Notes that a deletion begins which may take what is chosen: those names are returned."""
        with self.lock:
            leaving = [it.name for it in self.snapshots.values() if not it.gone and chosen(it)]
            for name in leaving:
                self.snapshots[name].leaving += 1
            return leaving

    def left(self, leaving, gone):
        """Notes that it has ended: what it has deleted, or None if it was killed."""
        with self.lock:
            for name in leaving:
                self.snapshots[name].leaving -= 1
                self.snapshots[name].doubted |= gone is None
            for name in gone or []:
                self.snapshots[name].gone = True

    def names(self, resource=None):
        """Returns what is there, and what may be there."""
        with self.lock:
            return [it.name for it in self.snapshots.values() if not it.gone and resource in (None, it.resource)]

    def staying(self):
        with self.lock:
            return [name for name in self.snapshots if self.must_be_there(name)]

    def digest(self, name):
        return self.snapshots[name].digest
