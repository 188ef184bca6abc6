# Volumes and their snapshots on your own machine, with the provider for DigitalOcean.
#
#   export DIGITALOCEAN_API_URL=http://127.0.0.1:8080
#   export DIGITALOCEAN_TOKEN=...            # from `icecore token create terraform`
#   terraform init && terraform apply

terraform {
  required_providers {
    digitalocean = {
      source  = "digitalocean/digitalocean"
      version = "~> 2.0"
    }
  }
}

provider "digitalocean" {
  # DIGITALOCEAN_API_URL does the same.
  api_endpoint = "http://127.0.0.1:8080"
}

variable "region" {
  description = "A region of the server's configuration."
  default     = "local"
}

resource "digitalocean_volume" "data" {
  region = var.region
  name   = "data"
  size   = 10
  tags   = ["lab"]
}

resource "digitalocean_volume_snapshot" "clean" {
  name      = "clean"
  volume_id = digitalocean_volume.data.id
}

# One clone for each test, all with the content of the snapshot.
resource "digitalocean_volume" "test" {
  count       = 3
  region      = var.region
  name        = "test-${count.index}"
  snapshot_id = digitalocean_volume_snapshot.clean.id
  # The size of a volume from a snapshot is the snapshot's.
  size        = 10
}

output "volumes" {
  value = { for volume in digitalocean_volume.test : volume.name => volume.id }
}
