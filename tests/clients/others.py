"""Two more clients as they come from PyPI: apache-libcloud, which knows many clouds, and python-digitalocean."""

import os

import digitalocean
from libcloud.compute.providers import get_driver
from libcloud.compute.types import Provider

from server import file_system
from server import server
from server import wait_for


def with_libcloud(one, token):
    driver = get_driver(Provider.DIGITAL_OCEAN)(token)
    # Its constructor refuses them.
    driver.connection.secure, driver.connection.host, driver.connection.port = False, "127.0.0.1", one.port
    driver.connection.connect()
    [here, there] = driver.list_locations()
    assert (here.id, there.id) == ("here", "there")
    size = next(size for size in driver.list_sizes() if size.name == "s-1vcpu-1gb")
    assert size.disk == 25
    volume = driver.create_volume(1, "data", here)
    snapshot = driver.create_volume_snapshot(volume, "first")
    assert [s.id for s in driver.list_volume_snapshots(volume)] == [snapshot.id]
    assert driver.delete_volume_snapshot(snapshot)
    assert driver.destroy_volume(volume)
    assert driver.list_volumes() == []
    print("libcloud: volumes and snapshots")


def with_python_digitalocean(one, token):
    file = one.images / "small.raw"
    file_system(file, 64, {"hostname": b"original\n"})
    os.environ["DIGITALOCEAN_END_POINT"] = f"{one.url}/v2/"
    manager = digitalocean.Manager(token=token)
    image = digitalocean.Image(token=token, name="small", url=f"file://{file}", region="here", distribution="Debian")
    image.create()
    wait_for(lambda: [i for i in manager.get_images(private=True) if i.name == "small" and i.status == "available"])
    droplet = digitalocean.Droplet(token=token, name="web", region="here", image=image.id, size_slug="s-1vcpu-1gb")
    droplet.create()
    wait_for(lambda: manager.get_droplet(droplet.id).status == "active")
    droplet.take_snapshot("kept")
    [snapshot] = wait_for(lambda: manager.get_droplet_snapshots())
    assert snapshot.name == "kept" and snapshot.resource_id == str(droplet.id)
    assert [i.name for i in manager.get_my_images()] == ["small", "kept"]
    snapshot.destroy()
    assert droplet.destroy()
    assert manager.get_all_droplets() == []
    print("python-digitalocean: a droplet and its snapshot")


with server() as one:
    token = one.token()
    with_libcloud(one, token)
    with_python_digitalocean(one, token)
