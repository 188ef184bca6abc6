package main

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/digitalocean/godo"
)

// The names that csi-sanity gives to volumes and snapshots at most.
const longestName = 128

// says checks that a call was turned away with this status, and that its message holds what the driver looks for.
func says(status int, message string, err error, what string) {
	refused(status, err, what)
	must(strings.Contains(err.Error(), message), what, err)
}

// finished polls an action of a volume as the driver does.
func finished(client *godo.Client, volume string, action *godo.Action) {
	for begun := time.Now(); action.Status != godo.ActionCompleted; {
		must(time.Since(begun) < time.Minute, "the volume's action takes too long", action)
		time.Sleep(50 * time.Millisecond)
		var err error
		action, _, err = client.StorageActions.Get(ctx, volume, action.ID)
		check(err, "the volume's action")
	}
}

// provisioned does what the driver does for a claim: it looks for the volume, at the limit, and makes and tags it.
func provisioned(client *godo.Client, name string, gigabytes int64, snapshot string) (*godo.Volume, error) {
	found, _, err := client.Storage.ListVolumes(ctx, &godo.ListVolumeParams{Region: "here", Name: name})
	check(err, "a claim: is it there?")
	if len(found) > 0 {
		return &found[0], nil
	}
	if snapshot != "" {
		_, _, err := client.Snapshots.Get(ctx, snapshot)
		check(err, "a claim: its snapshot")
	}
	account, _, err := client.Account.Get(ctx)
	check(err, "a claim: the limit")
	_, answer, err := client.Storage.ListVolumes(ctx, &godo.ListVolumeParams{Region: "here", ListOptions: &godo.ListOptions{Page: 1, PerPage: 1}})
	check(err, "a claim: how many volumes")
	must(account.VolumeLimit == 0 || answer.Meta.Total < account.VolumeLimit, "a claim: the limit", account, answer.Meta)
	volume, _, err := client.Storage.CreateVolume(ctx, &godo.VolumeCreateRequest{
		Region: "here", Name: name, Description: "Created by the CSI driver", SizeGigaBytes: gigabytes, SnapshotID: snapshot,
	})
	if err != nil {
		return nil, err
	}
	if snapshot != "" && volume.SizeGigaBytes < gigabytes {
		action, _, err := client.StorageActions.Resize(ctx, volume.ID, int(gigabytes), "here")
		check(err, "a claim: larger than its snapshot")
		finished(client, volume.ID, action)
	}
	label := &godo.TagResourcesRequest{Resources: []godo.Resource{{ID: volume.ID, Type: godo.VolumeResourceType}}}
	answer, err = client.Tags.TagResources(ctx, "cluster", label)
	if answer != nil && answer.StatusCode == http.StatusNotFound {
		_, _, err = client.Tags.Create(ctx, &godo.TagCreateRequest{Name: "cluster"})
		check(err, "a claim: the tag")
		_, err = client.Tags.TagResources(ctx, "cluster", label)
	}
	check(err, "a claim: its tag")
	return volume, nil
}

// csi makes the calls of DigitalOcean's CSI driver, in its order, and checks what it reads out of the answers.
func csi(client *godo.Client, file string) {
	image := imported(client, file)
	node, _, err := client.Droplets.Create(ctx, &godo.DropletCreateRequest{
		Name: "node-1", Region: "here", Size: "s-1vcpu-1gb", Image: godo.DropletCreateImage{ID: image.ID},
	})
	check(err, "a node")
	for begun := time.Now(); node.Status != "active"; {
		must(time.Since(begun) < time.Minute, "the node takes too long", node)
		time.Sleep(50 * time.Millisecond)
		node, _, err = client.Droplets.Get(ctx, node.ID)
		check(err, "a node")
	}

	volume, err := provisioned(client, "pvc-1", 1, "")
	check(err, "a claim")
	again, err := provisioned(client, "pvc-1", 1, "")
	check(err, "the same claim again")
	must(again.ID == volume.ID && again.SizeGigaBytes == 1 && len(again.Tags) == 1, "the same claim again", again)
	_, err = provisioned(client, strings.Repeat("a", longestName), 1, "")
	says(http.StatusUnprocessableEntity, "64", err, "a name that is too long")

	_, _, err = client.Storage.GetVolume(ctx, "00000000-0000-4000-8000-000000000000")
	refused(http.StatusNotFound, err, "a volume that is not there")
	_, _, err = client.Droplets.Get(ctx, 99999999)
	refused(http.StatusNotFound, err, "a node that is not there")
	action, _, err := client.StorageActions.Attach(ctx, volume.ID, node.ID)
	check(err, "attach")
	finished(client, volume.ID, action)
	_, _, err = client.StorageActions.Attach(ctx, volume.ID, node.ID)
	says(http.StatusUnprocessableEntity, "This volume is already attached", err, "attach again")
	attached, _, err := client.Storage.GetVolume(ctx, volume.ID)
	check(err, "get an attached volume")
	must(len(attached.DropletIDs) == 1 && attached.DropletIDs[0] == node.ID, "get an attached volume", attached)
	action, _, err = client.StorageActions.Resize(ctx, volume.ID, 2, "here")
	check(err, "expand, while it is attached")
	finished(client, volume.ID, action)

	snapshot, _, err := client.Storage.CreateSnapshot(ctx, &godo.SnapshotCreateRequest{VolumeID: volume.ID, Name: "snapshot-1", Description: "of the driver"})
	check(err, "snapshot")
	must(snapshot.MinDiskSize == 2 && snapshot.ResourceID == volume.ID, "snapshot", snapshot)
	_, err = time.Parse(time.RFC3339, snapshot.Created)
	check(err, "the time of a snapshot")
	_, _, err = client.Storage.CreateSnapshot(ctx, &godo.SnapshotCreateRequest{VolumeID: volume.ID, Name: "snapshot-1"})
	refused(http.StatusConflict, err, "the same snapshot again")
	ofVolume, answer, err := client.Storage.ListSnapshots(ctx, volume.ID, &godo.ListOptions{Page: 1, PerPage: 50})
	check(err, "snapshots of a volume")
	must(len(ofVolume) == 1 && (answer.Links == nil || answer.Links.IsLastPage()), "snapshots of a volume", ofVolume)
	copied, err := provisioned(client, "pvc-2", 3, snapshot.ID)
	check(err, "a claim of a snapshot")
	copied, _, err = client.Storage.GetVolume(ctx, copied.ID)
	check(err, "a claim of a snapshot")
	must(copied.SizeGigaBytes == 3, "a claim of a snapshot, larger than it", copied)

	// The driver turns the page and the number of entries into its own token.
	for number := 2; number <= 6; number++ {
		_, _, err := client.Storage.CreateSnapshot(ctx, &godo.SnapshotCreateRequest{VolumeID: volume.ID, Name: "snapshot-" + strconv.Itoa(number)})
		check(err, "more snapshots")
	}
	seen := map[string]bool{}
	for page := 1; ; page++ {
		listed, answer, err := client.Snapshots.ListVolume(ctx, &godo.ListOptions{Page: page, PerPage: 4})
		check(err, "snapshots, by page")
		for _, one := range listed {
			must(!seen[one.ID], "a snapshot on two pages", one)
			seen[one.ID] = true
		}
		if answer.Links == nil || answer.Links.IsLastPage() {
			must(page == 2 && len(seen) == 6, "snapshots, by page", page, len(seen))
			break
		}
	}

	action, _, err = client.StorageActions.DetachByDropletID(ctx, volume.ID, node.ID)
	check(err, "detach")
	finished(client, volume.ID, action)
	_, _, err = client.StorageActions.DetachByDropletID(ctx, volume.ID, node.ID)
	says(http.StatusUnprocessableEntity, "Attachment not found", err, "detach again")
	for id := range seen {
		_, err = client.Storage.DeleteSnapshot(ctx, id)
		check(err, "delete a snapshot")
		_, err = client.Storage.DeleteSnapshot(ctx, id)
		refused(http.StatusNotFound, err, "delete a snapshot again")
	}
	for _, id := range []string{volume.ID, copied.ID} {
		_, err = client.Storage.DeleteVolume(ctx, id)
		check(err, "delete a volume")
		_, err = client.Storage.DeleteVolume(ctx, id)
		refused(http.StatusNotFound, err, "delete a volume again")
	}
	_, err = client.Droplets.Delete(ctx, node.ID)
	check(err, "delete a node")
}
