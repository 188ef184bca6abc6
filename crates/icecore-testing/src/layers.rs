//! The architecture of a crate, as a list of its files: imports go down the list only.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

/// The advice printed with a problem.
const HELP: &str = "\
A new file goes into LAYERS in the test, on the lowest line that is below all that it imports, or on a line of its own. \
If an import goes up or sideways, move what is shared to a lower module, or hand it in as an argument. Imports are \
written one path a line, as `use crate::format::pack::Entry;`.";

/// The root files of programs and libraries: they may import everything, and nothing may import
/// them.
const ROOTS: [&str; 2] = ["lib", "main"];

/// The sources of a crate by module name (`format/pack`), without those compiled only for tests.
pub type Sources = BTreeMap<String, String>;

/// Reads the sources of a crate; `manifest_dir` is `CARGO_MANIFEST_DIR`.
///
/// # Errors
/// Those of the file system.
pub fn sources(manifest_dir: &str) -> io::Result<Sources> {
    let src = Path::new(manifest_dir).join("src");
    let (mut sources, mut only_tests) = (BTreeMap::new(), BTreeSet::new());
    let mut dirs = vec![src.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            if path.extension().is_none_or(|end| end != "rs") {
                continue;
            }
            let below = path.strip_prefix(&src).map_err(io::Error::other)?;
            let name = below.with_extension("").to_string_lossy().into_owned();
            let source = fs::read_to_string(&path)?;
            let marked = source.split("#[cfg(test)]\n").skip(1).filter_map(|rest| rest.lines().next());
            let tests = marked.filter_map(|line| line.split_once("mod ")?.1.strip_suffix(';'));
            only_tests.extend(tests.map(|child| child_of(&name, child)));
            sources.insert(name, source);
        }
    }
    sources.retain(|name, _| !only_tests.contains(name));
    Ok(sources)
}

/// Returns a source without its tests.
pub fn without_tests(source: &str) -> &str {
    source.split_once("\nmod tests {").map_or(source, |(code, _)| code)
}

/// Returns the full name of a module that another module's file declares.
fn child_of(file: &str, child: &str) -> String {
    match file.strip_suffix("mod").or(ROOTS.contains(&file).then_some("")) {
        Some(dir) => format!("{dir}{child}"),
        None => format!("{file}/{child}"),
    }
}

/// A module, and its imports from its own crate.
#[derive(Debug)]
pub struct Module {
    /// Its name: `verbs/gc` for `verbs/gc/mod.rs`.
    pub name: String,
    /// Line numbers and paths, such as `format/pack/Entry`.
    pub imports: Vec<(usize, String)>,
    /// Import lines whose target cannot be determined.
    pub problems: Vec<String>,
    file: String,
}

impl Module {
    /// Reads the imports of a file.
    #[must_use]
    pub fn parse(file: &str, source: &str) -> Self {
        let name = file.strip_suffix("/mod").unwrap_or(file).to_owned();
        let mut module = Self { name, imports: Vec::new(), problems: Vec::new(), file: file.to_owned() };
        let code = without_tests(source);
        let children: Vec<&str> = code.lines().filter_map(declared).collect();
        for (number, line) in (1..).zip(code.lines()) {
            let line = line.split("//").next().unwrap_or_default().trim();
            let path = line
                .split_once("use crate::")
                .filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
            match path.and_then(|(_, path)| path.strip_suffix(';')) {
                Some(path) if path.contains(['{', '*']) => {
                    module.complain(number, "has a brace or a star in it", line);
                }
                Some(path) => module.imports.push((number, path.replace("::", "/"))),
                None if path.is_some() => module.complain(number, "is not one path on one line", line),
                None if line.starts_with("use super::") || line.starts_with("use self::") => {
                    module.complain(number, "hides where it leads: begin it with `crate::`", line);
                }
                None if line.contains("crate::") && !line.contains("$crate::") => {
                    module.complain(number, "names a path of this crate outside of a `use` line", line);
                }
                None => {
                    let used = children.iter().filter(|child| names(line, child));
                    module.imports.extend(used.map(|child| (number, child_of(file, child))));
                }
            }
        }
        module
    }

    fn complain(&mut self, number: usize, what: &str, line: &str) {
        self.problems.push(format!("src/{}.rs:{number}: `{line}` {what}", self.file));
    }
}

/// Returns the module that a line declares.
fn declared(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("mod ")?;
    after.strip_suffix(';').filter(|_| before.is_empty() || before.starts_with("pub"))
}

/// Returns whether a line has a path that begins with a module.
fn names(line: &str, module: &str) -> bool {
    let path = format!("{module}::");
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | ':'))
    })
}

/// The modules of a crate, from the bottom up. A module may import modules on lines above its own,
/// and none on its own line or below.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a>(pub &'a [&'a [&'a str]]);

impl Layers<'_> {
    /// Returns the line that a module is on.
    #[must_use]
    pub fn level(&self, module: &str) -> Option<usize> {
        self.0.iter().position(|line| line.contains(&module))
    }

    /// Returns the module that a path points into.
    #[must_use]
    pub fn target<'p>(&self, path: &'p str) -> Option<&'p str> {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        let prefixes = ends.map(|end| &path[..end]);
        prefixes.filter(|prefix| self.level(prefix).is_some()).max_by_key(|prefix| prefix.len())
    }

    /// Returns what is wrong with the imports of a module.
    #[must_use]
    pub fn problems_of(&self, module: &Module) -> Vec<String> {
        let mut problems = module.problems.clone();
        if ROOTS.contains(&module.name.as_str()) {
            return problems;
        }
        let Some(own) = self.level(&module.name) else {
            problems.push(format!("src/{}.rs is not in the list", module.file));
            return problems;
        };
        for (number, path) in &module.imports {
            let import = format!("src/{}.rs:{number}: {path}", module.file);
            match self.target(path) {
                None => problems.push(format!("{import} leads to no module in the list")),
                Some(to) if self.level(to) >= Some(own) => {
                    problems.push(format!("{import} goes up or sideways, to {to}"));
                }
                Some(_) => {}
            }
        }
        problems
    }

    /// Returns the modules of a crate that are, or should be, in the list. Files that only declare
    /// other modules need not be.
    #[must_use]
    pub fn modules(&self, sources: &Sources) -> Vec<Module> {
        let modules = sources.iter().map(|(file, source)| Module::parse(file, source));
        modules.filter(|module| !module.file.ends_with("/mod") || !module.imports.is_empty()).collect()
    }

    /// Returns every problem with the modules of a crate and with the list.
    #[must_use]
    pub fn problems(&self, modules: &[Module]) -> Vec<String> {
        let mut problems: Vec<String> = modules.iter().flat_map(|module| self.problems_of(module)).collect();
        let is_there = |name: &str| modules.iter().any(|module| module.name == name);
        let gone = self.0.iter().copied().flatten().filter(|name| !is_there(name));
        problems.extend(gone.map(|name| format!("{name} is in the list and there is no such file")));
        problems
    }

    /// Checks the imports of a crate, and its list.
    ///
    /// # Errors
    /// The problems, with advice on what to do; those of the file system.
    pub fn check(&self, manifest_dir: &str) -> Result<(), String> {
        let sources = sources(manifest_dir).map_err(|error| error.to_string())?;
        told(&self.problems(&self.modules(&sources)))
    }
}

/// Fails if there are problems.
///
/// # Errors
/// All problems, with advice on what to do.
pub fn told(problems: &[String]) -> Result<(), String> {
    if problems.is_empty() { Ok(()) } else { Err(format!("\n{}\n\n{HELP}\n", problems.join("\n"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: Layers<'_> = Layers(&[
        &["words/ids", "words/sizes"],
        &["format/bytes"],
        &["format/pack"],
        &["verbs/gc/mark"],
        &["verbs/gc"],
    ]);

    fn problems(file: &str, source: &str) -> Vec<String> {
        LAYERS.problems_of(&Module::parse(file, source))
    }

    #[test]
    fn imports_that_go_down_are_fine() {
        for (file, source) in [
            ("format/pack", "use crate::words::ids::PackId;\n// crate::verbs is not meant\nuse std::io;"),
            ("format/pack", "#[cfg(test)]\nmod tests {\n    use super::*;"),
            ("verbs/gc/mod", "mod mark;\nfn f() { mark::g(); }"),
            ("lib", "mod verbs;\npub use crate::verbs::gc::gc;"),
        ] {
            assert!(problems(file, source).is_empty(), "{file}: {source}");
        }
    }

    #[test]
    fn imports_that_go_up_or_sideways_or_hide_where_they_lead_are_found() {
        for (file, source) in [
            ("words/ids", "use crate::format::pack::Entry;"),
            ("words/ids", "use crate::words::sizes::GIB;"),
            ("words/ids", "use crate::words::ids::PackId;"),
            ("format/pack", "use crate::words::{ids::PackId, sizes};"),
            ("format/pack", "pub(crate) use crate::words::ids::*;"),
            ("format/pack", "use crate::words::ids::{\n    PackId,\n};"),
            ("format/pack", "use super::bytes::Fields;"),
            ("format/pack", "fn f() -> crate::words::ids::PackId"),
            ("format/pack", "use crate::elsewhere::Thing;"),
            ("format/unlisted", ""),
            ("verbs/gc/mark", "use crate::verbs::gc::Options;"),
            ("lib", "pub use crate::words::*;"),
        ] {
            assert!(!problems(file, source).is_empty(), "{file}: {source}");
        }
        // A module that calls a module it declares stands above it, as if it had imported it.
        let upside_down = Layers(&[&["verbs/gc"], &["verbs/gc/mark"]]);
        let module = Module::parse("verbs/gc/mod", "mod mark;\nfn f() { mark::g(); }");
        assert_eq!(upside_down.problems_of(&module).len(), 1);
    }

    #[test]
    fn a_list_names_files_that_are_there_and_no_others() {
        let of = |files: &[&str]| {
            let sources: Sources = files.iter().map(|file| ((*file).to_owned(), String::new())).collect();
            Layers(&[&["a"], &["b"]]).problems(&LAYERS.modules(&sources))
        };
        assert!(of(&["a", "b", "c/mod"]).is_empty());
        assert_eq!(of(&["a"]), ["b is in the list and there is no such file"]);
        assert_eq!(of(&["a", "b", "c"]), ["src/c.rs is not in the list"]);
    }
}
