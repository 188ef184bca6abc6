//! The architecture, as a list: imports go down it only. `docs/architecture.md` says what each
//! module is for.

use std::collections::BTreeSet;

use icecore_testing::layers;
use icecore_testing::layers::Layers;
use icecore_testing::layers::Module;

/// All modules, from the bottom up. A module imports what stands on lines above its own, and
/// nothing that stands on its own line or below.
const LAYERS: Layers<'_> = Layers(&[
    // Words: ids, sizes, names, errors, progress.
    &["words/ids", "words/parity", "words/progress", "words/sizes", "words/sync"],
    &["words/next_step"],
    &["words/error"],
    &["words/directory", "words/names", "words/pool", "words/time", "words/units"],
    // Pure functions over bytes.
    &["pure/compress", "pure/erasure", "pure/hash_many", "pure/padding", "pure/secret", "pure/zero"],
    &["pure/hash", "pure/keys"],
    &["pure/block_cipher", "pure/record_cipher", "pure/span"],
    // What is on disk.
    &["format/bytes", "format/foreign", "format/layout"],
    &["format/sealed"],
    &["format/pack", "format/run_table", "format/serial"],
    &[
        "format/dirty_map",
        "format/envelope",
        "format/notes",
        "format/page",
        "format/parity",
        "format/reads",
        "format/run_filter",
    ],
    &["format/config", "format/page_delta", "format/run"],
    &["format/record"],
    &["format/journal"],
    &["format/checkpoint", "format/volume"],
    &["format/checkpoint_writer"],
    // The world outside.
    &["world/io", "world/storage", "world/unsupported"],
    &[
        "world/direct",
        "world/guard",
        "world/objects",
        "world/pages",
        "world/random_file",
        "world/rename",
        "world/sessions",
        "world/watched",
    ],
    &["world/directory", "world/noticing"],
    &["world/place"],
    &["world/reread"],
    &["world/fs", "world/in_use", "world/inside", "world/memory", "world/raw"],
    &["world/image", "world/target"],
    &["world/in_place"],
    // Stores.
    &["stores/seals"],
    &[
        "stores/files",
        "stores/known_slots",
        "stores/recent_pages",
        "stores/volumes/blocks",
        "stores/volumes/dirty_map",
    ],
    &["stores/slots"],
    &["stores/config"],
    &["stores/locks", "stores/index", "stores/pack/file", "stores/pack/list"],
    &["stores/journal/catalog", "stores/journal/recent"],
    &["stores/journal/writing"],
    &["stores/journal/files"],
    &["stores/journal"],
    &["stores/journal/audit"],
    &[
        "stores/file_sizes",
        "stores/notes",
        "stores/volumes/overlay",
        "stores/pack/cache",
        "stores/pack/audit",
        "stores/pack/writer",
        "stores/reads",
    ],
    &["stores/parity/group", "stores/volumes"],
    &["stores/parity/writer", "stores/recovery/rebuilt_packs"],
    &["stores/chunks", "stores/parity/cover", "stores/index/run_writer"],
    &["stores/live_records", "stores/planner", "stores/recovery/reader", "stores/index/run_builder"],
    &["stores/index/writer", "stores/recovery", "stores/recovery/broken_pack"],
    &["stores/recovery/pages"],
    &["stores/recovery/examine"],
    &["stores/manifest", "stores/recovery/record_copies"],
    &["stores/manifest/cursor"],
    &["stores/manifest/builder", "stores/manifest/shared_blocks"],
    // The handle.
    &["repository"],
    // Views of what it holds.
    &["views/chunk", "views/leaf_map", "views/recorder", "views/streams"],
    &["views/cache"],
    &["views/fetch"],
    &["views/ahead"],
    &["views/snapshot"],
    &["views/stack"],
    &["views/stack_writes", "views/volume_locks"],
    &["views/volume"],
    &["views/prefetch", "views/sealing"],
    &["views/volume_io"],
    // For benches: single stages, and indexes without data.
    &["scale", "stages"],
    // For fuzzing: what must hold of each decoder, and repositories that lie.
    &["fuzzing/seal"],
    &["fuzzing/decoders", "fuzzing/forge"],
    // Verbs, each after its parts, which no other verb imports.
    &["verbs/catalog"],
    &["verbs/capture/buffers", "verbs/capture/changed", "verbs/capture/commit", "verbs/capture/draft"],
    &["verbs/capture/packing", "verbs/capture/parent"],
    &["verbs/capture/pages", "verbs/capture/regions"],
    &["verbs/capture/scan"],
    &["verbs/capture/choose"],
    &["verbs/capture/pipeline"],
    &["verbs/capture/options"],
    &["verbs/gc/copies", "verbs/gc/grace"],
    &["verbs/gc/mark"],
    &["verbs/gc/needs"],
    &["verbs/gc/choose", "verbs/gc/parity", "verbs/gc/reads", "verbs/gc/rewrite", "verbs/gc/tail"],
    &["verbs/gc/join"],
    &["verbs/gc"],
    &["verbs/restore/report"],
    &["verbs/restore/window"],
    &["verbs/restore/window_buffer", "verbs/restore/fetch", "verbs/restore/in_place"],
    &["verbs/restore/assemble"],
    &["verbs/restore/output", "verbs/restore/stream"],
    &["verbs/verify/places", "verbs/verify/report"],
    &["verbs/verify/findings", "verbs/verify/sample"],
    &["verbs/verify/packs"],
    &["verbs/verify/manifests", "verbs/verify/parity", "verbs/verify/read"],
    &["verbs/verify/quick"],
    &["verbs/stats/kept_pages", "verbs/stats/owners"],
    &["verbs/stats/tally"],
    &["verbs/stats/own"],
    &["verbs/verify"],
    &["verbs/repair/recover_pack", "verbs/repair/report", "verbs/repair/damaged_packs"],
    &["verbs/repair/packs", "verbs/repair/parity", "verbs/repair/runs"],
    &["verbs/capture"],
    &["verbs/repair/catalog"],
    &[
        "verbs/diff",
        "verbs/keys",
        "verbs/log",
        "verbs/parity",
        "verbs/repair",
        "verbs/restore",
        "verbs/retention",
        "verbs/stats",
    ],
    &["verbs/map"],
    &["verbs/copy/common", "verbs/copy/proven"],
    &["verbs/copy"],
    &["verbs/volume/info", "verbs/volume/export"],
    &["verbs/volume/create", "verbs/volume/labels", "verbs/volume/reads", "verbs/volume/snapshot"],
    &["verbs/volume/change"],
    &["verbs/volume"],
    &["verbs/bench/report", "verbs/bench/codec", "verbs/bench/place", "verbs/bench/sample"],
    &["verbs/bench/append", "verbs/bench/batch", "verbs/bench/runs"],
    &["verbs/bench/what_if"],
    &["verbs/bench/stages"],
    &["verbs/bench"],
]);

/// Verbs do not know of each other. The exceptions: the first uses the second.
const VERBS_THAT_USE_OTHERS: &[(&str, &str)] = &[
    ("bench", "capture"), // a benchmark runs the verbs that it measures
    ("bench", "restore"),
    ("bench", "stats"),
    ("bench", "verify"),
    ("capture", "catalog"), // a capture returns a snapshot as the catalog shows it, under a name that is free
    ("capture", "gc"),      // captures put small packs together as gc does
    ("map", "catalog"),     // a map is of a snapshot as the catalog shows it
    ("map", "diff"),        // what changed is what a diff says
    ("copy", "capture"),    // a copy is a capture of a snapshot, in another repository
    ("copy", "catalog"),
    ("copy", "diff"),      // of what differs from a snapshot that both have
    ("repair", "verify"),  // what is lost is told in the same words
    ("repair", "capture"), // a snapshot that was found again is whole as a new one is
    ("repair", "catalog"),
    ("volume", "capture"),    // a snapshot of a volume is a capture of what was written
    ("volume", "catalog"),    // and volumes are told of with snapshots as the catalog shows them
    ("retention", "catalog"), // a policy is about snapshots as the catalog shows them
    ("stats", "catalog"),     // statistics are of snapshots as the catalog shows them
];

/// Returns the verb that a module is, or is a part of.
fn verb(module: &str) -> Option<&str> {
    module.strip_prefix("verbs/")?.split('/').next()
}

/// Tells whether a module may know of another as far as verbs are concerned.
fn verbs_agree(module: &str, to: &str) -> bool {
    let (Some(from), Some(of)) = (verb(module), verb(to)) else { return true };
    let is_a_part = to != format!("verbs/{of}");
    from == of || !is_a_part && VERBS_THAT_USE_OTHERS.contains(&(from, of))
}

/// Returns what is wrong with the imports of a module from other verbs.
fn verb_problems(module: &Module) -> Vec<String> {
    let imports = module.imports.iter().filter_map(|(number, path)| Some((number, LAYERS.target(path)?)));
    let wrong = imports.filter(|(_, to)| !verbs_agree(&module.name, to));
    let name = &module.name;
    wrong
        .map(|(number, to)| format!("{name}, line {number}, leads from one verb into another, {to}"))
        .collect()
}

#[test]
fn imports_go_down_only() {
    let modules = LAYERS.modules(&layers::sources(env!("CARGO_MANIFEST_DIR")).unwrap());
    let mut problems = LAYERS.problems(&modules);
    let mut used = BTreeSet::new();
    for module in &modules {
        problems.extend(verb_problems(module));
        let targets = module.imports.iter().filter_map(|(_, path)| LAYERS.target(path));
        used.extend(targets.filter_map(|to| Some((verb(&module.name)?, verb(to)?))));
    }
    for exception in VERBS_THAT_USE_OTHERS.iter().filter(|exception| !used.contains(*exception)) {
        problems.push(format!("{} may use {} and does not: remove the exception", exception.0, exception.1));
    }
    layers::told(&problems).unwrap_or_else(|problems| panic!("{problems}"));
}

/// Whoever puts an entry looks at the config again; `init` and repairs alone put the config itself,
/// and gc removes what a process left that died while it put one.
#[test]
fn the_lock_of_the_journal_has_few_doors() {
    let sources = layers::sources(env!("CARGO_MANIFEST_DIR")).unwrap();
    let named = sources.iter().filter(|(_, source)| source.contains("Work::Commit")).map(|(name, _)| name);
    let known =
        ["repository", "stores/journal/mod", "verbs/gc/tail", "verbs/repair/catalog", "world/sessions"];
    assert_eq!(named.collect::<Vec<_>>(), known);
}

#[test]
fn what_the_layer_test_forbids_between_verbs_is_found() {
    let problems = |name: &str, import: &str| verb_problems(&Module::parse(name, import));
    assert!(problems("verbs/capture", "use crate::verbs::catalog::Snapshot;").is_empty());
    for (name, import) in [
        ("verbs/diff", "use crate::verbs::catalog::Snapshot;"),
        ("verbs/gc", "use crate::verbs::capture::commit::commit;"),
    ] {
        assert_eq!(problems(name, import).len(), 1, "{name}: {import}");
    }
}
