//! `icecore snapshot tag`.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;

use crate::app::App;
use crate::commands::title;
use crate::exit::Verdict;
use crate::json;

/// Add tags to a snapshot or remove tags from it
///
/// Put options such as -o before SNAP: everything after it is a tag. A tag may contain letters,
/// digits and : - _ . =
#[derive(Debug, clap::Args)]
#[command(override_usage = "icecore snapshot tag [OPTIONS] <SNAP> <+TAG|-TAG>...")]
pub(crate) struct TagArgs {
    /// An id, a unique prefix of an id, a name, or RESOURCE@latest
    #[arg(value_name = "SNAP")]
    snapshot: String,
    /// +TAG adds a tag, -TAG removes one
    #[arg(value_name = "+TAG|-TAG", required = true, allow_hyphen_values = true)]
    changes: Vec<String>,
}

/// Tags to add and to remove.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) add: Vec<String>,
    pub(crate) remove: Vec<String>,
}

impl TagArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let changes = Changes::parse(&self.changes)?;
        let repo = app.open()?;
        let id = icecore::snapshot::find(&repo, &self.snapshot)?.id;
        let snapshot = icecore::snapshot::retag(&repo, id, &changes.add, &changes.remove)?;
        let tags = if snapshot.tags.is_empty() { "none".to_owned() } else { snapshot.tags.join(",") };
        let text = format!("tags of {}: {tags}", title(&snapshot));
        app.ui.result(&json::SnapshotResult { snapshot: json::Snapshot::from(&snapshot) }, &text)?;
        Ok(Verdict::Clean)
    }
}

impl Changes {
    pub(crate) fn parse(texts: &[String]) -> Result<Self> {
        let mut changes = Self::default();
        for text in texts {
            match text.split_at_checked(1) {
                // A misplaced option must not pass for a tag.
                Some(("-", "o" | "q" | "v" | "h")) => return Err(looks_like_an_option(text)),
                Some(("-", rest)) if rest.starts_with('-') => return Err(looks_like_an_option(text)),
                Some(("+", tag)) => changes.add.push(tag.to_owned()),
                Some(("-", tag)) => changes.remove.push(tag.to_owned()),
                _ => {
                    return Err(Error::new(
                        ErrorKind::InvalidInput,
                        format!("add or remove the tag {text:?}?"),
                    )
                    .with_hint(format!("write +{text} to add it, or -{text} to remove it")));
                }
            }
        }
        if let Some(both) = changes.add.iter().find(|tag| changes.remove.contains(tag)) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the tag {both:?} is both added and removed"),
            ));
        }
        Ok(changes)
    }
}

fn looks_like_an_option(text: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{text} looks like an option, but is in the place of a tag"))
        .with_hint("put options before SNAP: icecore snapshot tag [OPTIONS] SNAP +TAG")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Result<Changes> {
        Changes::parse(&texts.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn plus_adds_and_minus_removes() {
        let changes = parse(&["+a", "-b", "+c:d"]).unwrap();
        assert_eq!(changes, Changes { add: vec!["a".into(), "c:d".into()], remove: vec!["b".into()] });
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        for wrong in [&["a"][..], &["-o", "+json"], &["--output"], &["+a", "-a"], &[""], &["ä"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
