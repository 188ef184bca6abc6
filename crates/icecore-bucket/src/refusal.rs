//! What a store answers when it does not do what was asked.

use std::fmt;

/// How much of a text from a store is shown to people.
const SHOWN_CHARS: usize = 300;

/// An answer with an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The store's own word for it, such as `SlowDown`; empty if it gave none.
    pub(crate) code: String,
    /// The store's text; empty if it gave none.
    pub(crate) message: String,
    /// The region in which the bucket is, if the store said so.
    pub(crate) region: Option<String>,
    /// How long the store wants to be left alone, in seconds.
    pub(crate) retry_after: Option<u64>,
    /// Whether the answer came from where credentials are asked for, and not from the store.
    pub(crate) of_credentials: bool,
}

impl Refusal {
    /// Reads the body of an answer: XML of S3, Google and Azure, JSON of Google.
    pub(crate) fn read(status: u16, body: &str) -> Self {
        let field =
            |xml: &str, json: &str| element(body, xml).or_else(|| member(body, json)).unwrap_or_default();
        let region = element(body, "Region").filter(|region| !region.is_empty());
        let (code, message) = (field("Code", "reason"), field("Message", "message"));
        Self { status, code, message, region, ..Self::default() }
    }

    /// Returns whether the store keeps the object for a time that the bucket's owner has set. The
    /// stores have no word for it in common.
    pub(crate) fn is_retention(&self) -> bool {
        const CODES: [&str; 5] = [
            "BlobImmutableDueToPolicy",
            "ObjectLocked",
            "ObjectLockedByBucketPolicy",
            "ObjectUnderActiveHold",
            "RetentionPolicyNotMet",
        ];
        const TEXTS: [&str; 3] = ["object lock", "retention policy", "worm protected"];
        let message = self.message.to_lowercase();
        let has_word = CODES.iter().any(|code| code.eq_ignore_ascii_case(&self.code));
        let has_text = || TEXTS.iter().any(|text| message.contains(text));
        match self.status {
            403 | 409 => has_word || has_text(),
            400 | 412 => has_word,
            _ => false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        if !self.code.is_empty() {
            write!(f, ", {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once("</")?;
    Some(shown(
        &value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&"),
    ))
}

fn member(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("\"{name}\""))?;
    let (value, _) = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?.split_once('"')?;
    Some(shown(value))
}

/// Returns a text of others in one line without control characters, and not too long.
pub(crate) fn shown(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_stores_are_understood() {
        let s3 = Refusal::read(
            400,
            "<?xml version=\"1.0\"?>\n<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region \
             'us-east-1' is wrong;\n expecting &quot;eu-west-1&quot;</Message><Region>eu-west-1</Region></Error>",
        );
        assert_eq!(s3.region.as_deref(), Some("eu-west-1"));
        assert_eq!(
            s3.to_string(),
            "status 400, AuthorizationHeaderMalformed: the region 'us-east-1' is wrong; expecting \"eu-west-1\""
        );
        let google = Refusal::read(
            403,
            r#"{"error": {"code": 403, "message": "no access", "errors": [{"reason": "forbidden"}]}}"#,
        );
        assert_eq!((google.code.as_str(), google.message.as_str()), ("forbidden", "no access"));
        assert_eq!(Refusal::read(502, "<html>Bad gateway").to_string(), "status 502");
    }

    #[test]
    fn what_a_store_keeps_for_a_time_is_told_from_what_is_denied() {
        let of_s3 = |code: &str, message: &str| {
            Refusal::read(403, &format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>"))
        };
        assert!(
            of_s3("AccessDenied", "Access Denied because object protected by object lock.").is_retention()
        );
        assert!(!of_s3("AccessDenied", "Access Denied").is_retention());
        assert!(of_s3("ObjectLockedByBucketPolicy", "").is_retention());
        let azure = "<Error><Code>BlobImmutableDueToPolicy</Code><Message>no</Message></Error>";
        assert!(Refusal::read(409, azure).is_retention());
        let google = r#"{"error": {"code": 403, "errors": [{"reason": "retentionPolicyNotMet"}]}}"#;
        assert!(Refusal::read(403, google).is_retention());
        assert!(!Refusal::read(500, azure).is_retention());
        // What S3 says of a body without a checksum.
        let bare = "<Error><Code>InvalidRequest</Code><Message>Content-MD5 is required for Put Object requests \
                    with Object Lock parameters</Message></Error>";
        assert!(!Refusal::read(400, bare).is_retention());
    }

    #[test]
    fn texts_of_others_are_one_short_line() {
        assert_eq!(shown("a\u{1b}[31mb\n\n  c"), "a [31mb c");
        assert_eq!(shown(&"x".repeat(1000)).len(), SHOWN_CHARS);
    }
}
