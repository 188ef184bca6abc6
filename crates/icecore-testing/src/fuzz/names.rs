//! Texts that a person may type for a snapshot, a name or a tag.

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::RenameOptions;
use icecore::snapshot::ResourceKind;

use crate::repository::TestRepository;
use crate::repository::options;

/// The most texts in one input: more of them find nothing new.
const PARTS_MAX: usize = 4;

pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let bench = TestRepository::new();
    let first = bench.snapshot("disk", &b"a small disk".to_vec());
    let known = bench.snapshot("disk", &b"another".to_vec());
    let parts: Vec<String> = text.split('\n').take(PARTS_MAX).map(str::to_owned).collect();
    for part in &parts {
        if let Ok(found) = icecore::snapshot::find(&bench.repo, part) {
            let named = found.name == *part || found.id.to_string().starts_with(part.as_str());
            assert!(named || part == "disk@latest", "{part:?} is not {found:?}");
        }
        // A Droplet, because a volume with this name could own the snapshot that is renamed, and
        // would then have the name already.
        let droplet = icecore::snapshot::CaptureOptions { kind: ResourceKind::Droplet, ..options(part) };
        let how = icecore::snapshot::CaptureOptions { name: part.clone(), ..droplet };
        let taken = icecore::snapshot::capture(&bench.repo, &b"a disk".to_vec(), &how, &NoProgress);
        let renamed = icecore::snapshot::rename(&bench.repo, known, part, RenameOptions::default());
        // What is good for a new snapshot is good for an old one, but that a resource of its own
        // has no other names.
        assert_eq!(taken.is_ok(), renamed.is_ok(), "{part:?}: {:?}", taken.err());
        match renamed {
            Ok(snapshot) => {
                assert_eq!(snapshot.name, *part);
                assert!(!part.chars().any(char::is_control), "{part:?} would break a listing");
                let again = icecore::snapshot::rename(&bench.repo, first, part, RenameOptions::default())
                    .map_err(|error| error.kind());
                assert_eq!(again.err(), Some(ErrorKind::AlreadyExists));
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{part:?}: {error}"),
        }
        if let Ok(snapshot) = taken {
            icecore::snapshot::delete(&bench.repo, snapshot.snapshot.id, DeleteOptions::default()).unwrap();
        }
    }
    let (add, remove) = parts.split_at(parts.len() / 2);
    if let Ok(snapshot) = icecore::snapshot::retag(&bench.repo, known, add, remove) {
        assert!(snapshot.tags.is_sorted() && snapshot.tags.len() <= 64);
        assert!(add.iter().all(|tag| snapshot.tags.contains(tag)));
    }
    assert_eq!(icecore::snapshot::list(&bench.repo).unwrap().len(), 2);
}
