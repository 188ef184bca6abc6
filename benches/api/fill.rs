//! A state directory with a number of snapshots.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use icecore::NoProgress;
use icecore::repository::DEFAULT_LEVEL;
use icecore::repository::Repository;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::SnapshotId;
use icecore::volume::VolumeId;
use icecore::volume::VolumeOptions;
use icecore_host::clock::new_id;
use icecore_host::clock::system_unix_ms;
use icecore_host::repository;
use icecore_host::repository::NewRepository;
use uuid::Uuid;

use crate::CONFIG;
use crate::Outcome;

const IMAGE_BYTES: usize = 64 << 10;
const GIB: u64 = 1 << 30;

/// Returns how many volumes there are with a number of snapshots, and as many Droplets: each volume
/// has up to 90 snapshots, each Droplet 10.
pub(crate) fn disks_for(snapshots: usize) -> usize {
    (snapshots / 100).clamp(1, 1000)
}

/// Makes the state directory unless it is there and full. Returns it.
pub(crate) fn state_dir(dir: &Path, snapshots: usize) -> Outcome<PathBuf> {
    fs::create_dir_all(dir)?;
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nstate_dir = \"{dir}\"\n\n[limits]\nvolumes = 10000\n\
         snapshots_per_volume = 1000000\n\n[regions.local]\nrepository = \"{dir}/local\"\n\n[[account]]\nname = \"ann\"\n\
         email = \"ann@example.com\"\n",
        dir = dir.display()
    );
    fs::write(dir.join(CONFIG), text)?;
    let full = dir.join("full");
    if !full.exists() {
        let new = NewRepository { created_unix_ms: system_unix_ms(), level: DEFAULT_LEVEL, parity: None };
        let (repo, _) = repository::open_or_init(&dir.join("local").into(), "bench", new)?;
        fill(&repo, snapshots)?;
        fs::write(full, "")?;
    }
    Ok(dir.to_owned())
}

fn labels(more: &[(&str, String)]) -> std::collections::BTreeMap<String, String> {
    let account = [("account", "ann".to_owned())];
    account.iter().chain(more).map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

fn fill(repo: &Repository, snapshots: usize) -> Outcome<()> {
    let mut of = Vec::new();
    for kind in [ResourceKind::Volume, ResourceKind::Droplet] {
        let mut made = Vec::new();
        for number in 0..disks_for(snapshots) {
            made.push(disk(repo, kind, number)?);
        }
        of.push((kind, made));
    }
    let image = vec![1; IMAGE_BYTES];
    let there = icecore::snapshot::list(repo)?.len();
    for number in there..snapshots {
        let (kind, disks) = &of[usize::from(number % 10 == 9)];
        let (name, id) = &disks[number / 10 % disks.len()];
        let mut options = CaptureOptions::new(
            SnapshotId(new_id()),
            system_unix_ms(),
            *kind,
            name.clone(),
            format!("snapshot-{number}"),
        );
        options.tags = vec![format!("tag-{}", number % 7)];
        options.labels = labels(&[("resource", id.to_string())]);
        icecore::snapshot::capture(repo, &image, &options, &NoProgress)?;
    }
    Ok(())
}

/// Makes a disk, or finds it.
fn disk(repo: &Repository, kind: ResourceKind, number: usize) -> Outcome<(String, Uuid)> {
    let name = format!("{}-{number}", kind.as_str());
    if let Ok(found) = icecore::volume::find_volume(repo, &name) {
        return Ok((name, found.id.0));
    }
    let id = new_id();
    let options = VolumeOptions {
        id: VolumeId(id),
        name: name.clone(),
        created_unix_ms: system_unix_ms(),
        kind: Some(kind),
        snapshot: None,
        size_bytes: Some(GIB),
        labels: labels(&[("name", name.clone())]),
    };
    icecore::volume::create_volume(repo, &options)?;
    Ok((name, id))
}
