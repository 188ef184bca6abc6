//! The architecture, as a list: imports go down it only. `docs/architecture.md` says what each module is for.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// All modules, from the bottom up. A module imports what stands on lines above its own, and nothing that stands on
/// its own line or below.
const LAYERS: &[&[&str]] = &[
    // Words: ids, sizes, names, errors, progress.
    &["words/error", "words/ids", "words/progress", "words/sizes"],
    &["words/names"],
    // Pure functions over bytes.
    &["pure/compress", "pure/hash_many", "pure/zero"],
    &["pure/hash"],
    // What is on disk.
    &["format/bytes", "format/layout"],
    &["format/pack", "format/run", "format/serial"],
    &["format/envelope", "format/page"],
    &["format/config"],
    &["format/record"],
    // The world outside.
    &["world/io", "world/storage"],
    &["world/device", "world/fault", "world/fs", "world/memory"],
    // Stores.
    // The handle.
    &["repository"],
    // Verbs.
    VERBS,
];

/// The verbs. They do not know of each other.
const VERBS: &[&str] = &[
    "verbs/catalog",
    "verbs/verify",
    "verbs/capture",
    "verbs/diff",
    "verbs/gc",
    "verbs/repair",
    "verbs/restore",
    "verbs/stats",
];

/// The exceptions: the first verb uses the second, which stands before it in [`VERBS`].
const VERBS_THAT_USE_OTHERS: &[(&str, &str)] = &[
    ("verbs/capture", "verbs/catalog"), // a capture returns a snapshot as the catalog shows it
    ("verbs/repair", "verbs/verify"),   // what is lost is told in the same words
    ("verbs/stats", "verbs/catalog"),   // statistics are of snapshots as the catalog shows them
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
        let code = source.split_once("#[cfg(test)]\nmod tests {").map_or(source, |(code, _)| code);
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
            let declared = source.split("#[cfg(test)]\nmod ").skip(1).filter_map(|rest| rest.split_once(';'));
            only_tests.extend(declared.map(|(module, _)| format!("{parent}{module}")));
            sources.insert(name, source);
        }
    }
    sources.retain(|name, _| !only_tests.contains(name));
    sources
}

/// Returns the line of [`LAYERS`] that a module is on, and its place on the line.
fn place(module: &str) -> Option<(usize, usize)> {
    let on = |layer: &&[&str]| layer.iter().position(|listed| *listed == module);
    LAYERS.iter().enumerate().find_map(|(level, layer)| Some((level, on(layer)?)))
}

/// Returns the module that a path leads into.
fn target(path: &str) -> Option<&str> {
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    ends.map(|end| &path[..end]).rfind(|prefix| place(prefix).is_some())
}

fn problems_of(module: &Module) -> Vec<String> {
    let mut problems = module.problems.clone();
    let Some((level, at)) = place(&module.name) else {
        problems.push(format!("src/{}.rs is not in the list", module.name));
        return problems;
    };
    for (number, path) in &module.imports {
        let whereabouts = format!("src/{}.rs:{number}: {path}", module.name);
        let Some(to) = target(path) else {
            problems.push(format!("{whereabouts} leads to no module in the list"));
            continue;
        };
        let excepted = VERBS_THAT_USE_OTHERS.contains(&(&module.name, to));
        match place(to) {
            Some((below, _)) if below < level => {}
            Some((same, before)) if same == level && before < at && excepted => {}
            _ => problems.push(format!("{whereabouts} goes up or sideways, to {to}")),
        }
    }
    problems
}

#[test]
fn imports_go_down_only() {
    let mut problems = Vec::new();
    let mut used = BTreeSet::new();
    let sources = sources();
    for (name, source) in &sources {
        let module = Module::parse(name, source);
        if name == "lib" {
            problems.extend(module.problems);
        } else if name.ends_with("mod") {
            let imports =
                module.imports.iter().map(|(number, _)| format!("src/{name}.rs:{number}: imports something"));
            problems.extend(module.problems.iter().cloned().chain(imports));
        } else {
            problems.extend(problems_of(&module));
            let targets = module.imports.iter().filter_map(|(_, path)| target(path));
            used.extend(targets.map(|to| (name.clone(), to.to_owned())));
        }
    }
    let listed = LAYERS.iter().copied().flatten();
    let gone = listed.filter(|module| !sources.contains_key(**module));
    problems.extend(gone.map(|module| format!("{module} is in the list and there is no such file")));
    let unused =
        VERBS_THAT_USE_OTHERS.iter().filter(|(from, to)| !used.contains(&(from.to_string(), to.to_string())));
    problems
        .extend(unused.map(|(from, to)| format!("{from} may use {to} and does not: remove the exception")));
    assert!(problems.is_empty(), "\n{}\n\n{HELP}\n", problems.join("\n"));
}

#[test]
fn what_the_layer_test_forbids_is_found() {
    let problems = |name: &str, source: &str| problems_of(&Module::parse(name, source));
    let fine = "use crate::words::ids::PackId;\n// crate::verbs is not meant\n#[cfg(test)]\nmod tests {\n use super::*;";
    assert!(problems("format/pack", fine).is_empty());
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
    ] {
        assert!(!problems(name, source).is_empty(), "{name}: {source}");
    }
}
