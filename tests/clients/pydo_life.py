"""The life of a Droplet and of volumes, through pydo as it comes from PyPI."""

import os
import tempfile

import pydo
from azure.core.exceptions import HttpResponseError

from server import file_system
from server import is_same
from server import nbd_read
from server import nbd_write
from server import server
from server import wait_for

PLAIN = {"enforce_https": False}


def refused(status, call):
    try:
        call()
    except HttpResponseError as error:
        assert error.status_code == status, (status, error)
        return error
    raise AssertionError(f"not refused with {status}")


def finished(client, action):
    def look():
        found = client.actions.get(action["id"], **PLAIN)["action"]
        assert found["status"] != "errored", found
        return found if found["status"] == "completed" else None
    return wait_for(look)


def volumes(client, scratch):
    create = lambda **body: client.volumes.create(body=body, **PLAIN)["volume"]
    data = create(name="data", region="here", size_gigabytes=1, tags=["db", "prod"], description="of the database")
    assert data["region"]["slug"] == "here" and data["size_gigabytes"] == 1 and sorted(data["tags"]) == ["db", "prod"]
    refused(409, lambda: create(name="data", region="here", size_gigabytes=1))
    refused(422, lambda: create(name="Data", region="here", size_gigabytes=1))
    assert client.volumes.list(name="data", region="here", **PLAIN)["meta"]["total"] == 1

    nbd_write(data["nbd_uri"], 4096, b"before the snapshot")
    take = lambda name: client.volume_snapshots.create(data["id"], body={"name": name, "tags": ["nightly"]}, **PLAIN)["snapshot"]
    first = take("monday")
    assert first["resource_id"] == data["id"] and first["min_disk_size"] == 1 and first["resource_type"] == "volume"
    refused(409, lambda: take("monday"))
    nbd_write(data["nbd_uri"], 4096, b"after the snapshot!")

    # What a volume made from a snapshot has is what the source had at that moment: byte for byte, and nothing else.
    model = os.path.join(scratch, "model")
    with open(model, "wb") as image:
        image.truncate(1 << 30)
        image.seek(4096)
        image.write(b"before the snapshot")
    clone = create(name="clone", snapshot_id=first["id"], region="here", size_gigabytes=5)
    assert clone["size_gigabytes"] == 1
    copy = os.path.join(scratch, "copy")
    nbd_read(clone["nbd_uri"], copy)
    assert is_same(model, copy)

    resized = client.volume_actions.post_by_id(clone["id"], body={"type": "resize", "size_gigabytes": 3, "region": "here"}, **PLAIN)
    finished(client, resized["action"])
    assert client.volumes.get(clone["id"], **PLAIN)["volume"]["size_gigabytes"] == 3
    refused(422, lambda: client.volume_actions.post_by_id(clone["id"], body={"type": "resize", "size_gigabytes": 2}, **PLAIN))

    assert [s["id"] for s in client.snapshots.list(resource_type="volume", **PLAIN)["snapshots"]] == [first["id"]]
    assert client.snapshots.get(first["id"], **PLAIN)["snapshot"]["tags"] == ["nightly"]
    client.snapshots.delete(first["id"], **PLAIN)
    assert client.snapshots.get(first["id"], **PLAIN)["id"] == "not_found"
    nbd_read(clone["nbd_uri"], copy)
    assert is_same(model, copy)
    return data, clone


def droplets(client, scratch, one, volume):
    image_file = one.images / "debian.raw"
    file_system(image_file, 512, {"hostname": b"original\n", "data": os.urandom(1 << 20)})
    made = client.images.create_custom(
        body={"name": "debian", "url": f"file://{image_file}", "region": "here", "distribution": "Debian"}, **PLAIN
    )["image"]
    image = wait_for(lambda: (i := client.images.get(made["id"], **PLAIN)["image"])["status"] == "available" and i)
    assert image["type"] == "custom" and image["min_disk_size"] == 1 and image["distribution"] == "Debian"

    answer = client.droplets.create(
        body={"name": "web-1", "region": "here", "size": "s-1vcpu-512mb-10gb", "image": image["id"], "tags": ["web"], "volumes": [volume["id"]]}, **PLAIN
    )
    droplet, links = answer["droplet"], answer["links"]
    assert links["actions"][0]["rel"] == "create"
    finished(client, links["actions"][0])
    droplet = client.droplets.get(droplet["id"], **PLAIN)["droplet"]
    assert droplet["status"] == "active" and droplet["disk"] == 10 and droplet["volume_ids"] == [volume["id"]]
    refused(409, lambda: client.volumes.delete(volume["id"], **PLAIN))
    disk = os.path.join(scratch, "disk")
    nbd_read(droplet["nbd_uri"], disk)
    assert is_same(image_file, disk) and os.stat(disk).st_size == 10 << 30

    act = lambda **body: finished(client, client.droplet_actions.post(droplet["id"], body=body, **PLAIN)["action"])
    nbd_write(droplet["nbd_uri"], 1 << 20, b"one more line")
    expected = os.path.join(scratch, "expected")
    nbd_read(droplet["nbd_uri"], expected)
    taken = act(type="snapshot", name="before the upgrade")
    [snapshot] = client.droplets.list_snapshots(droplet["id"], **PLAIN)["snapshots"]
    assert snapshot["name"] == "before the upgrade" and snapshot["created_at"] == taken["started_at"]
    assert client.droplets.get(droplet["id"], **PLAIN)["droplet"]["snapshot_ids"] == [snapshot["id"]]
    listed = client.snapshots.list(resource_type="droplet", **PLAIN)["snapshots"]
    assert [s["id"] for s in listed] == [str(snapshot["id"])] and listed[0]["resource_id"] == str(droplet["id"])

    nbd_write(droplet["nbd_uri"], 1 << 20, b"a broken line")
    act(type="restore", image=snapshot["id"])
    nbd_read(droplet["nbd_uri"], disk)
    assert is_same(expected, disk)
    act(type="rebuild", image=image["id"])
    nbd_read(droplet["nbd_uri"], disk)
    assert is_same(image_file, disk)
    act(type="rename", name="web-2")
    for kind, status in [("power_off", "off"), ("power_on", "active")]:
        act(type=kind)
        assert client.droplets.get(droplet["id"], **PLAIN)["droplet"]["status"] == status

    # To the other region, and a Droplet there.
    moved = client.image_actions.post(snapshot["id"], body={"type": "transfer", "region": "there"}, **PLAIN)["action"]
    finished(client, moved)
    assert client.images.get(snapshot["id"], **PLAIN)["image"]["regions"] == ["here", "there"]
    other = client.droplets.create(
        body={"name": "web-3", "region": "there", "size": "s-1vcpu-1gb", "image": snapshot["id"]}, **PLAIN
    )
    finished(client, other["links"]["actions"][0])
    there = client.droplets.get(other["droplet"]["id"], **PLAIN)["droplet"]
    nbd_read(there["nbd_uri"], disk)
    assert is_same(expected, disk)

    renamed = client.images.update(snapshot["id"], body={"name": "kept"}, **PLAIN)["image"]
    assert renamed["name"] == "kept"
    client.droplets.destroy(droplet["id"], **PLAIN)
    assert client.droplets.get(droplet["id"], **PLAIN)["id"] == "not_found"
    assert client.volumes.get(volume["id"], **PLAIN)["volume"]["droplet_ids"] == []
    assert client.snapshots.get(str(snapshot["id"]), **PLAIN)["snapshot"]["resource_id"] == str(droplet["id"])
    client.images.delete(snapshot["id"], **PLAIN)
    client.droplets.destroy(there["id"], **PLAIN)
    assert client.snapshots.list(**PLAIN)["meta"]["total"] == 0
    return image


def tags(client, volume):
    client.tags.create(body={"name": "extra"}, **PLAIN)
    resources = {"resources": [{"resource_id": volume["id"], "resource_type": "volume"}]}
    client.tags.assign_resources("extra", body=resources, **PLAIN)
    assert "extra" in client.volumes.get(volume["id"], **PLAIN)["volume"]["tags"]
    assert client.tags.get("extra", **PLAIN)["tag"]["resources"]["volumes"]["count"] == 1
    client.tags.unassign_resources("extra", body=resources, **PLAIN)
    client.tags.delete("extra", **PLAIN)
    assert "extra" not in [tag["name"] for tag in client.tags.list(**PLAIN)["tags"]]


def main():
    with server() as one, tempfile.TemporaryDirectory() as scratch:
        client = pydo.Client(token=one.token(), endpoint=one.url)
        assert client.account.get(**PLAIN)["account"]["email"] == "ann@example.com"
        assert [region["slug"] for region in client.regions.list(**PLAIN)["regions"]] == ["here", "there"]
        assert client.sizes.list(**PLAIN)["meta"]["total"] > 0
        refused(401, lambda: pydo.Client(token="wrong", endpoint=one.url).account.get(**PLAIN))
        data, clone = volumes(client, scratch)
        droplets(client, scratch, one, data)
        tags(client, data)
        for volume in (data, clone):
            client.volumes.delete(volume["id"], **PLAIN)
        assert client.volumes.list(**PLAIN)["meta"]["total"] == 0
    print("pydo: a whole life, byte for byte")


main()
