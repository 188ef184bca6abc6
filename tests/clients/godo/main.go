// What doctl does, through godo, the library that it is made of: each call of its commands for snapshots, volumes, Droplets,
// images, actions and tags, decoded as strictly as doctl decodes it. After that, what the CSI driver does (csi.go).
//
// usage: godo URL TOKEN IMAGE   (IMAGE is a file:// URL that the server may import)
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/digitalocean/godo"
	"golang.org/x/oauth2"
)

var ctx = context.Background()

func check(err error, what string) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func must(good bool, what string, seen ...interface{}) {
	if !good {
		fmt.Fprintln(os.Stderr, append([]interface{}{what}, seen...)...)
		os.Exit(1)
	}
}

// refused checks that a call was turned away with this status.
func refused(status int, err error, what string) {
	answer, is := err.(*godo.ErrorResponse)
	must(is && answer.Response.StatusCode == status && answer.Message != "" && answer.RequestID != "", what, err)
}

// wait polls an action as doctl does with --wait.
func wait(client *godo.Client, action *godo.Action) *godo.Action {
	for begun := time.Now(); action.Status == godo.ActionInProgress; {
		must(time.Since(begun) < time.Minute, "the action takes too long", action)
		time.Sleep(50 * time.Millisecond)
		var err error
		action, _, err = client.Actions.Get(ctx, action.ID)
		check(err, "actions.get")
	}
	must(action.Status == godo.ActionCompleted && action.CompletedAt != nil, "the action went wrong", action)
	return action
}

func volumes(client *godo.Client) *godo.Volume {
	volume, _, err := client.Storage.CreateVolume(ctx, &godo.VolumeCreateRequest{Name: "data", Region: "here", SizeGigaBytes: 2})
	check(err, "volume create")
	must(volume.Region.Slug == "here" && volume.SizeGigaBytes == 2 && !volume.CreatedAt.IsZero(), "volume create", volume)
	_, _, err = client.Storage.CreateVolume(ctx, &godo.VolumeCreateRequest{Name: "data", Region: "here", SizeGigaBytes: 2})
	refused(http.StatusConflict, err, "a second volume of one name")

	snapshot, _, err := client.Storage.CreateSnapshot(ctx, &godo.SnapshotCreateRequest{VolumeID: volume.ID, Name: "first", Tags: []string{"nightly"}})
	check(err, "volume snapshot")
	must(snapshot.ResourceID == volume.ID && snapshot.MinDiskSize == 2, "volume snapshot", snapshot)
	_, _, err = client.Storage.CreateSnapshot(ctx, &godo.SnapshotCreateRequest{VolumeID: volume.ID, Name: "first"})
	refused(http.StatusConflict, err, "a second snapshot of one name")

	// Without a region and with the size that doctl sends where none is given.
	clone, _, err := client.Storage.CreateVolume(ctx, &godo.VolumeCreateRequest{Name: "clone", SizeGigaBytes: 4096, SnapshotID: snapshot.ID})
	check(err, "volume create --snapshot")
	must(clone.SizeGigaBytes == 2 && clone.Region.Slug == "here", "volume create --snapshot", clone)
	action, _, err := client.StorageActions.Resize(ctx, clone.ID, 5, "here")
	check(err, "volume-action resize")
	wait(client, action)
	actions, _, err := client.StorageActions.List(ctx, clone.ID, nil)
	check(err, "volume-action list")
	must(len(actions) == 1, "volume-action list", actions)
	_, _, err = client.StorageActions.Get(ctx, clone.ID, actions[0].ID)
	check(err, "volume-action get")

	listed, _, err := client.Snapshots.ListVolume(ctx, &godo.ListOptions{Page: 1, PerPage: 200})
	check(err, "snapshot list --resource volume")
	must(len(listed) == 1 && listed[0].ID == snapshot.ID, "snapshot list --resource volume", listed)
	_, _, err = client.Snapshots.Get(ctx, snapshot.ID)
	check(err, "snapshot get")
	_, err = client.Snapshots.Delete(ctx, snapshot.ID)
	check(err, "snapshot delete")
	_, err = client.Snapshots.Delete(ctx, snapshot.ID)
	refused(http.StatusNotFound, err, "a second deletion")
	_, err = client.Storage.DeleteVolume(ctx, clone.ID)
	check(err, "volume delete")
	found, _, err := client.Storage.ListVolumes(ctx, &godo.ListVolumeParams{Name: "data", Region: "here"})
	check(err, "volume list")
	must(len(found) == 1, "volume list", found)
	return volume
}

// pages reads a list as doctl does: it takes the number of pages from the first. There is one tag already.
func pages(client *godo.Client) {
	for number := 0; number < 23; number++ {
		_, _, err := client.Tags.Create(ctx, &godo.TagCreateRequest{Name: fmt.Sprintf("tag-%02d", number)})
		check(err, "tag create")
	}
	tags, answer, err := client.Tags.List(ctx, &godo.ListOptions{Page: 1, PerPage: 10})
	check(err, "tag list")
	must(len(tags) == 10 && answer.Meta.Total == 24 && answer.Links != nil && answer.Links.Pages != nil, "tag list", answer.Meta)
	last, err := url.Parse(answer.Links.Pages.Last)
	check(err, "the last page")
	number, err := strconv.Atoi(last.Query().Get("page"))
	check(err, "the last page")
	must(number == 3, "the last page", answer.Links.Pages.Last)
	tags, answer, err = client.Tags.List(ctx, &godo.ListOptions{Page: number, PerPage: 10})
	check(err, "tag list, the last page")
	must(len(tags) == 4 && answer.Links.IsLastPage(), "tag list, the last page", answer.Links)
	for number := 0; number < 23; number++ {
		_, err := client.Tags.Delete(ctx, fmt.Sprintf("tag-%02d", number))
		check(err, "tag delete")
	}
}

// imported returns an image that Droplets can boot from.
func imported(client *godo.Client, file string) *godo.Image {
	image, _, err := client.Images.Create(ctx, &godo.CustomImageCreateRequest{Name: "imported", Url: file, Region: "here", Distribution: "Debian"})
	check(err, "image create")
	for begun := time.Now(); image.Status != "available"; {
		must(time.Since(begun) < time.Minute && image.Status != "deleted", "the import takes too long", image)
		time.Sleep(50 * time.Millisecond)
		image, _, err = client.Images.GetByID(ctx, image.ID)
		check(err, "image get")
	}
	return image
}

func droplets(client *godo.Client, volume *godo.Volume, file string) {
	image := imported(client, file)
	droplet, answer, err := client.Droplets.Create(ctx, &godo.DropletCreateRequest{
		Name: "web-1", Region: "here", Size: "s-1vcpu-1gb", Image: godo.DropletCreateImage{ID: image.ID}, Tags: []string{"web"},
	})
	check(err, "droplet create")
	must(len(answer.Links.Actions) == 1 && answer.Links.Actions[0].Rel == "create", "droplet create --wait", answer.Links)
	created, _, err := answer.Links.Actions[0].Get(ctx, client)
	check(err, "droplet create --wait")
	wait(client, created)
	droplet, _, err = client.Droplets.Get(ctx, droplet.ID)
	check(err, "droplet get")
	must(droplet.Status == "active" && droplet.Image.ID == image.ID && droplet.Region.Slug == "here" && droplet.Disk == 25, "droplet get", droplet)
	_, _, err = client.Droplets.Create(ctx, &godo.DropletCreateRequest{Name: "x", Region: "here", Size: "s-1vcpu-1gb", Image: godo.DropletCreateImage{ID: 99999999}})
	refused(http.StatusUnprocessableEntity, err, "a droplet of an image that is not there")

	action, _, err := client.StorageActions.Attach(ctx, volume.ID, droplet.ID)
	check(err, "volume-action attach")
	wait(client, action)
	_, err = client.Storage.DeleteVolume(ctx, volume.ID)
	refused(http.StatusConflict, err, "deletion of an attached volume")

	action, _, err = client.DropletActions.Snapshot(ctx, droplet.ID, "a snapshot with spaces")
	check(err, "droplet-action snapshot")
	action = wait(client, action)
	taken, _, err := client.Droplets.Snapshots(ctx, droplet.ID, nil)
	check(err, "droplet snapshots")
	must(len(taken) == 1 && taken[0].Created == action.StartedAt.UTC().Format(time.RFC3339), "terraform finds it by its time", taken, action.StartedAt)
	snapshot := taken[0]
	user, _, err := client.Images.ListUser(ctx, nil)
	check(err, "image list-user")
	must(len(user) == 2, "image list-user", user)
	for what, doing := range map[string]func() (*godo.Action, *godo.Response, error){
		"restore":   func() (*godo.Action, *godo.Response, error) { return client.DropletActions.Restore(ctx, droplet.ID, snapshot.ID) },
		"rebuild":   func() (*godo.Action, *godo.Response, error) { return client.DropletActions.RebuildByImageID(ctx, droplet.ID, image.ID) },
		"rename":    func() (*godo.Action, *godo.Response, error) { return client.DropletActions.Rename(ctx, droplet.ID, "web-2") },
		"power-off": func() (*godo.Action, *godo.Response, error) { return client.DropletActions.PowerOff(ctx, droplet.ID) },
		"transfer": func() (*godo.Action, *godo.Response, error) {
			return client.ImageActions.Transfer(ctx, snapshot.ID, &godo.ActionRequest{"type": "transfer", "region": "there"})
		},
	} {
		action, _, err := doing()
		check(err, what)
		wait(client, action)
	}
	renamed, _, err := client.Images.Update(ctx, snapshot.ID, &godo.ImageUpdateRequest{Name: "kept"})
	check(err, "image update")
	must(renamed.Name == "kept" && len(renamed.Regions) == 2, "image update", renamed)
	actions, _, err := client.Droplets.Actions(ctx, droplet.ID, nil)
	check(err, "droplet actions")
	must(len(actions) >= 5, "droplet actions", actions)
	all, _, err := client.Actions.List(ctx, &godo.ListOptions{PerPage: 200})
	check(err, "action list")
	must(len(all) >= 8, "action list", len(all))

	_, err = client.Tags.TagResources(ctx, "web", &godo.TagResourcesRequest{Resources: []godo.Resource{{ID: strconv.Itoa(snapshot.ID), Type: godo.ImageResourceType}}})
	check(err, "tag apply")
	tagged, _, err := client.Tags.Get(ctx, "web")
	check(err, "tag get")
	must(tagged.Resources.Droplets.Count == 1 && tagged.Resources.Images.Count == 1, "tag get", tagged.Resources)
	byTag, _, err := client.Droplets.ListByTag(ctx, "web", nil)
	check(err, "droplet list --tag-name")
	must(len(byTag) == 1, "droplet list --tag-name", byTag)

	_, err = client.Droplets.Delete(ctx, droplet.ID)
	check(err, "droplet delete")
	_, _, err = client.Droplets.Get(ctx, droplet.ID)
	refused(http.StatusNotFound, err, "a droplet that was deleted")
	for _, id := range []int{snapshot.ID, image.ID} {
		_, err = client.Images.Delete(ctx, id)
		check(err, "image delete")
	}
	_, err = client.Storage.DeleteVolume(ctx, volume.ID)
	check(err, "deletion of a volume whose droplet is gone")
}

func main() {
	base, err := url.Parse(os.Args[1])
	check(err, "the URL")
	tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: os.Args[2]})
	client, err := godo.New(oauth2.NewClient(ctx, tokens), godo.SetBaseURL(base.String()))
	check(err, "the client")
	account, _, err := client.Account.Get(ctx)
	check(err, "account get")
	must(account.Email == "ann@example.com", "account get", account)
	regions, _, err := client.Regions.List(ctx, nil)
	check(err, "region list")
	must(len(regions) == 2, "region list", regions)
	_, _, err = client.Sizes.List(ctx, nil)
	check(err, "size list")
	volume := volumes(client)
	pages(client)
	droplets(client, volume, os.Args[3])
	csi(client, os.Args[3])
	fmt.Println("godo: every call was answered as doctl expects it")
}
