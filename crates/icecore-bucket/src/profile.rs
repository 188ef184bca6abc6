//! The files in which the tools of AWS keep profiles.

use std::collections::BTreeMap;

/// Sections by name, each with its values by key. Values that stand indented below a key `s3` are
/// `s3.key` here.
pub(crate) type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// Reads such a file. Lines that make no sense are left out, as the tools do.
pub(crate) fn parse(text: &str) -> Sections {
    let mut sections = Sections::new();
    let (mut section, mut above) = (None, None);
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(head) = trimmed.strip_prefix('[') {
            let name = head.split(']').next().unwrap_or_default().trim();
            section = Some(sections.entry(words(name)).or_default());
            above = None;
            continue;
        }
        let (Some(section), Some((key, value))) = (section.as_mut(), trimmed.split_once('=')) else {
            continue;
        };
        let (key, value) = (key.trim().to_ascii_lowercase(), without_comment(value).trim().to_owned());
        let indented = line.starts_with([' ', '\t']);
        match &above {
            Some(above) if indented => section.insert(format!("{above}.{key}"), value),
            _ => {
                above = value.is_empty().then(|| key.clone());
                section.insert(key, value)
            }
        };
    }
    sections
}

/// Returns a name with one space between its words: `[profile  lab]` is `[profile lab]`.
fn words(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").replace('"', "")
}

fn without_comment(value: &str) -> &str {
    value.split(" #").next().and_then(|value| value.split(" ;").next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read_as_the_tools_write_them() {
        let sections = parse(
            "stray = 1\n# a comment\n[default]\nregion = eu-west-1 # near\n\n[profile  lab]\nREGION=us-east-2\n\
             s3 =\n    endpoint_url = http://lab:9000\n\taddressing_style = path\noutput = json\n\
             [services local]\ns3 =\n  endpoint_url = x\nnonsense\n",
        );
        let get = |section: &str, key: &str| sections.get(section)?.get(key).map(String::as_str);
        assert_eq!(get("default", "region"), Some("eu-west-1"));
        assert_eq!(get("profile lab", "region"), Some("us-east-2"));
        assert_eq!(get("profile lab", "s3.endpoint_url"), Some("http://lab:9000"));
        assert_eq!(get("profile lab", "s3.addressing_style"), Some("path"));
        assert_eq!(get("profile lab", "output"), Some("json"));
        assert_eq!(get("services local", "s3.endpoint_url"), Some("x"));
        assert_eq!(sections.len(), 3);
    }

    #[test]
    fn a_secret_may_hold_any_sign() {
        let sections = parse("[a]\naws_secret_access_key = ab/c+d=e#f;g==\n");
        assert_eq!(sections["a"]["aws_secret_access_key"], "ab/c+d=e#f;g==");
    }
}
