"""What must hold once all machines are quiet."""

from images import digest
from machine import Wrong

# Where what is stored for snapshots is. Nothing of it stays without them.
STORED = ["packs", "index", "parity", "sessions", "damaged", "local-probe"]


def require(holds, what):
    if not holds:
        raise Wrong(f"in the end: {what}")


def settle(store, ledger, machines, fresh):
    """Checks all that was reported, and frees all that can be freed.

    `fresh` makes a machine that has seen nothing yet.
    """
    store.set_faults([])
    listed = check_snapshots(ledger, fresh())
    for machine in machines:
        settle_volumes(machine)
    # What volumes that were being made or deleted stood on is given up by their own machine.
    for machine in machines:
        collect(machine)
        check_local_files(machine)
    machine = fresh()
    collect(machine)
    check_nothing_unused(store, machine)
    check_snapshots(ledger, fresh())

    if listed:
        machine.ask("snapshot", "delete", "-f", *listed)
    collect(machine)
    left = [key for key in store.objects() if key.split("/")[1] in STORED]
    require(not left, f"without snapshots, there are {left}")
    return len(listed)


def check_snapshots(ledger, machine):
    """Restores every snapshot there is, and looks for all that must be there. Returns their names."""
    listed = [snapshot["name"] for snapshot in machine.result("snapshot", "list")["snapshots"]]
    require(len(set(listed)) == len(listed), f"a name is there twice: {sorted(listed)}")
    lost = [name for name in ledger.staying() if name not in listed]
    require(not lost, f"{lost} were reported and are not there")
    back = [name for name in listed if ledger.must_be_gone(name)]
    require(not back, f"{back} were deleted and are there")
    for name in listed:
        target = machine.dir / "restored"
        machine.ask("restore", name, target)
        machine.compare(target, ledger.digest(name), name)
        target.unlink()
    require(not machine.result("verify", "--read-data")["findings"], "verify has findings")
    return listed


def settle_volumes(machine):
    there = machine.listed_volumes()
    require(set(there) == set(machine.volumes), f"{machine.name} has the volumes {there}, and not {list(machine.volumes)}")
    for name in there:
        target = machine.dir / "exported"
        target.unlink(missing_ok=True)
        machine.ask("volume", "export", name, target)
        machine.compare(target, digest(machine.volumes[name]), name)
        machine.ask("volume", "delete", "-f", name)


def collect(machine):
    machine.ask("gc", "--grace", "0s", "--max-unused", "0%")


def check_local_files(machine):
    left = [path for path in machine.dir.glob("s/icecore/*/tmp/*")]
    require(not left, f"gc leaves {left}")


def check_nothing_unused(store, machine):
    again = machine.result("gc", "--grace", "0s", "--max-unused", "0%")
    for what in ["packs_removed", "packs_rewritten", "packs_condemned", "freed_bytes", "unused_bytes_kept", "leftovers_removed"]:
        require(again[what] == 0, f"a second gc has work: {again}")
    stats = machine.result("stats")["repository"]
    require(stats["unused_bytes"] == 0, f"unused bytes are left: {stats}")
    packs = {key: length for key, length in store.objects().items() if key.split("/")[1] == "packs"}
    require(len(packs) == again["packs"], f"the bucket has {len(packs)} packs, and {again['packs']} are in use")
    require(sum(packs.values()) == again["pack_bytes"], f"the packs have {sum(packs.values())} bytes, and gc knows of {again['pack_bytes']}")
