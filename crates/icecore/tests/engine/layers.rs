//! The architecture, as a list: imports go down it only. `docs/architecture.md` says what each module is for.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// All modules, from the bottom up. A module imports what stands on lines above its own, and nothing that stands on
/// its own line or below.
const LAYERS: &[&[&str]] = &[
    // Words: ids, sizes, names, errors, progress.
    &["words/ids", "words/parity", "words/progress", "words/sizes", "words/sync"],
    &["words/next_step"],
    &["words/error"],
    &["words/directory", "words/names", "words/pool", "words/time"],
    // Pure functions over bytes.
    &["pure/compress", "pure/erasure", "pure/hash_many", "pure/zero"],
    &["pure/hash"],
    &["pure/span"],
    // What is on disk.
    &["format/bytes", "format/foreign", "format/layout"],
    &["format/pack", "format/run_table", "format/serial"],
    &[
        "format/dirty_map",
        "format/envelope",
        "format/notes",
        "format/page",
        "format/parity",
        "format/run_filter",
    ],
    &["format/config", "format/run"],
    &["format/record"],
    &["format/volume"],
    // The world outside.
    &["world/fault", "world/io", "world/storage", "world/unsupported"],
    &[
        "world/direct",
        "world/fault_image",
        "world/fault_storage",
        "world/guard",
        "world/noticing",
        "world/pages",
        "world/random_file",
        "world/rename",
    ],
    &["world/reread"],
    &["world/fs", "world/in_use", "world/inside", "world/memory", "world/raw"],
    &["world/crash", "world/image", "world/target"],
    &["world/crash_states", "world/in_place"],
    // Stores.
    &["stores/files", "stores/volumes/dirty_map"],
    &["stores/config"],
    &["stores/locks", "stores/index", "stores/pack/file", "stores/pack/list", "stores/records"],
    &[
        "stores/file_sizes",
        "stores/notes",
        "stores/volumes/overlay",
        "stores/pack/cache",
        "stores/pack/audit",
        "stores/pack/writer",
    ],
    &["stores/parity/group", "stores/volumes"],
    &["stores/parity/writer", "stores/recovery/rebuilt_packs"],
    &["stores/chunks", "stores/parity/cover", "stores/index/run_writer"],
    &[
        "stores/recovery/broken_pack",
        "stores/live_records",
        "stores/recovery/reader",
        "stores/index/run_builder",
    ],
    &["stores/index/writer", "stores/recovery"],
    &["stores/manifest"],
    &["stores/manifest/cursor"],
    &["stores/manifest/builder", "stores/manifest/shared_blocks"],
    // The handle.
    &["repository"],
    // Views of what it holds.
    &["views/chunk", "views/leaf_map", "views/streams"],
    &["views/cache"],
    &["views/fetch"],
    &["views/ahead"],
    &["views/snapshot"],
    &["views/stack"],
    &["views/stack_writes"],
    &["views/volume"],
    &["views/sealing"],
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
    &["verbs/gc/copies", "verbs/gc/totals"],
    &["verbs/gc/mark"],
    &["verbs/gc/needs"],
    &["verbs/gc/choose", "verbs/gc/parity", "verbs/gc/rewrite", "verbs/gc/tail"],
    &["verbs/restore/report"],
    &["verbs/restore/window"],
    &["verbs/restore/window_buffer", "verbs/restore/fetch", "verbs/restore/in_place"],
    &["verbs/restore/assemble"],
    &["verbs/restore/output", "verbs/restore/stream"],
    &["verbs/verify/places", "verbs/verify/report"],
    &["verbs/verify/findings", "verbs/verify/sample"],
    &["verbs/verify/packs"],
    &["verbs/verify/manifests", "verbs/verify/parity", "verbs/verify/read"],
    &["verbs/stats/owners"],
    &["verbs/stats/tally"],
    &["verbs/stats/own"],
    &["verbs/verify"],
    &["verbs/repair/recover_pack", "verbs/repair/report", "verbs/repair/damaged_packs"],
    &["verbs/repair/packs", "verbs/repair/parity", "verbs/repair/runs"],
    &[
        "verbs/capture",
        "verbs/diff",
        "verbs/gc",
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
    &["verbs/volume/create", "verbs/volume/labels", "verbs/volume/snapshot"],
    &["verbs/volume/change"],
    &["verbs/volume"],
    &["verbs/bench/report", "verbs/bench/codec", "verbs/bench/place", "verbs/bench/sample"],
    &["verbs/bench/append", "verbs/bench/batch", "verbs/bench/runs"],
    &["verbs/bench/what_if"],
    &["verbs/bench/stages"],
    &["verbs/bench"],
];

/// Verbs do not know of each other. The exceptions: the first uses the second.
const VERBS_THAT_USE_OTHERS: &[(&str, &str)] = &[
    ("bench", "capture"), // a benchmark runs the verbs that it measures
    ("bench", "restore"),
    ("bench", "stats"),
    ("bench", "verify"),
    ("capture", "catalog"), // a capture returns a snapshot as the catalog shows it, under a name that is free
    ("map", "catalog"),     // a map is of a snapshot as the catalog shows it
    ("map", "diff"),        // what changed is what a diff says
    ("copy", "capture"),    // a copy is a capture of a snapshot, in another repository
    ("copy", "catalog"),
    ("copy", "diff"),         // of what differs from a snapshot that both have
    ("repair", "verify"),     // what is lost is told in the same words
    ("volume", "capture"),    // a snapshot of a volume is a capture of what was written
    ("volume", "catalog"),    // and volumes are told of with snapshots as the catalog shows them
    ("retention", "catalog"), // a policy is about snapshots as the catalog shows them
    ("stats", "catalog"),     // statistics are of snapshots as the catalog shows them
];

const HELP: &str = "\
A new file goes into LAYERS in crates/icecore/tests/engine/layers.rs, on the lowest line that is below all that it \
imports, or on a line of its own. If an import goes up or sideways, move what is shared to a lower module, or hand it \
in as an argument. Imports are written one path a line, as `use crate::format::pack::Entry;`.";

/// One source file of the engine, without its tests.
struct Module {
    name: String,
    /// What it imports from this crate: line number and path.
    imports: Vec<(usize, String)>,
    problems: Vec<String>,
}

impl Module {
    fn parse(name: &str, source: &str) -> Self {
        let code = source.split_once("\nmod tests {").map_or(source, |(code, _)| code);
        let mut module = Self { name: name.to_owned(), imports: Vec::new(), problems: Vec::new() };
        for (number, line) in (1..).zip(code.lines()) {
            let line = line.split("//").next().unwrap_or_default().trim();
            let path = line
                .split_once("use crate::")
                .filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
            match path.and_then(|(_, path)| path.strip_suffix(';')) {
                Some(path) if path.contains(['{', '*']) => {
                    module.complain(number, "has a brace or a star in it", line)
                }
                Some(path) => module.imports.push((number, path.replace("::", "/"))),
                None if path.is_some() => module.complain(number, "is not one path on one line", line),
                None if line.starts_with("use super::") || line.starts_with("use self::") => {
                    module.complain(number, "hides where it leads: begin it with `crate::`", line);
                }
                None if line.contains("crate::") && !line.contains("$crate::") => {
                    module.complain(number, "names a path of this crate outside of a `use` line", line);
                }
                None => {}
            }
        }
        module
    }

    fn complain(&mut self, number: usize, what: &str, line: &str) {
        self.problems.push(format!("src/{}.rs:{number}: `{line}` {what}", self.name));
    }
}

/// Returns the sources of the engine by module name (`format/pack`), without those that are only compiled for tests.
fn sources() -> BTreeMap<String, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut sources, mut only_tests) = (BTreeMap::new(), BTreeSet::new());
    let mut dirs = vec![src.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let name = path.strip_prefix(&src).unwrap().with_extension("").to_str().unwrap().to_owned();
            let source = fs::read_to_string(&path).unwrap();
            let parent = name.strip_suffix("mod").map_or(format!("{name}/"), str::to_owned);
            let marked = source.split("#[cfg(test)]\n").skip(1).filter_map(|rest| rest.lines().next());
            let declared = marked.filter_map(|line| line.split_once("mod ")?.1.strip_suffix(';'));
            only_tests.extend(declared.map(|module| format!("{parent}{module}")));
            sources.insert(name, source);
        }
    }
    sources.retain(|name, _| !only_tests.contains(name));
    sources
}

/// Returns the line of [`LAYERS`] that a module is on.
fn level(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Returns the module that a path leads into.
fn target(path: &str) -> Option<&str> {
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    ends.map(|end| &path[..end]).filter(|prefix| level(prefix).is_some()).max_by_key(|prefix| prefix.len())
}

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

fn problems_of(module: &Module) -> Vec<String> {
    let mut problems = module.problems.clone();
    let Some(own) = level(&module.name) else {
        problems.push(format!("src/{}.rs is not in the list", module.name));
        return problems;
    };
    for (number, path) in &module.imports {
        let import = format!("src/{}.rs:{number}: {path}", module.name);
        match target(path) {
            None => problems.push(format!("{import} leads to no module in the list")),
            Some(to) if level(to) >= Some(own) => {
                problems.push(format!("{import} goes up or sideways, to {to}"));
            }
            Some(to) if !verbs_agree(&module.name, to) => {
                problems.push(format!("{import} leads from one verb into another, {to}"));
            }
            Some(_) => {}
        }
    }
    problems
}

#[test]
fn imports_go_down_only() {
    let mut problems = Vec::new();
    let mut used = BTreeSet::new();
    let mut modules = BTreeSet::new();
    for (name, source) in &sources() {
        let mut module = Module::parse(name, source);
        if name == "lib" || name.ends_with("/mod") && module.imports.is_empty() {
            problems.extend(module.problems);
            continue;
        }
        // The main file of a verb with parts is the verb.
        name.trim_end_matches("/mod").clone_into(&mut module.name);
        problems.extend(problems_of(&module));
        let targets = module.imports.iter().filter_map(|(_, path)| target(path));
        let verbs = targets.filter_map(|to| Some((verb(&module.name)?.to_owned(), verb(to)?.to_owned())));
        used.extend(verbs);
        modules.insert(module.name);
    }
    let gone = LAYERS.iter().copied().flatten().filter(|module| !modules.contains(**module));
    problems.extend(gone.map(|module| format!("{module} is in the list and there is no such file")));
    for (from, to) in VERBS_THAT_USE_OTHERS {
        if !used.contains(&((*from).to_owned(), (*to).to_owned())) {
            problems.push(format!("{from} may use {to} and does not: remove the exception"));
        }
    }
    assert!(problems.is_empty(), "\n{}\n\n{HELP}\n", problems.join("\n"));
}

/// Whoever takes the commit lock looks at the config again; `init` alone only makes its file.
#[test]
fn the_commit_lock_has_one_door() {
    let sources = sources();
    let named = sources.iter().filter(|(_, source)| source.contains("LOCK_COMMIT")).map(|(name, _)| name);
    assert_eq!(named.collect::<Vec<_>>(), ["format/layout", "repository", "stores/locks"]);
}

#[test]
fn what_the_layer_test_forbids_is_found() {
    let problems = |name: &str, source: &str| problems_of(&Module::parse(name, source));
    let fine = "use crate::words::ids::PackId;\n// crate::verbs is not meant\n#[cfg(test)]\nmod tests {\n use super::*;";
    assert!(problems("format/pack", fine).is_empty());
    assert!(problems("verbs/capture", "use crate::verbs::catalog::Snapshot;").is_empty());
    for (name, source) in [
        ("format/pack", "use crate::world::storage::Storage;"),
        ("format/pack", "use crate::format::run::Run;"),
        ("format/pack", "use crate::words::{ids::PackId, sizes};"),
        ("format/pack", "pub(crate) use crate::words::ids::*;"),
        ("format/pack", "use crate::words::ids::{\n    PackId,\n};"),
        ("format/pack", "use super::bytes::Fields;"),
        ("format/pack", "fn f() -> crate::words::ids::PackId"),
        ("format/pack", "use crate::elsewhere::Thing;"),
        ("format/unlisted", ""),
        ("verbs/diff", "use crate::verbs::catalog::Snapshot;"),
        ("verbs/catalog", "use crate::verbs::capture::capture;"),
        ("verbs/gc", "use crate::verbs::capture::commit::commit;"),
        ("verbs/restore/fetch", "use crate::verbs::restore::stream::restore;"),
    ] {
        assert!(!problems(name, source).is_empty(), "{name}: {source}");
    }
}
