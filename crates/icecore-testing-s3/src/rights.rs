//! Credentials, and what each of them may do.

use std::str::FromStr;

/// What a credential may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Read objects and their heads.
    pub get: bool,
    /// List objects and buckets. Without it, a missing object is "access denied", as on AWS.
    pub list: bool,
    /// Put an object with `If-None-Match: *`.
    pub put_new: bool,
    /// Put an object without that header, whether it exists or not.
    pub overwrite: bool,
    /// Delete objects.
    pub delete: bool,
}

impl Rights {
    /// Everything.
    pub const ALL: Self = Self { get: true, list: true, put_new: true, overwrite: true, delete: true };
    /// Nothing.
    pub const NONE: Self = Self { get: false, list: false, put_new: false, overwrite: false, delete: false };
    /// What captures need: get, list and create.
    pub const CAPTURE: Self = Self { get: true, list: true, put_new: true, overwrite: false, delete: false };
    /// Get and list.
    pub const READ: Self = Self { get: true, list: true, put_new: false, overwrite: false, delete: false };
}

impl FromStr for Rights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rights = Self::NONE;
        for word in text.split(',') {
            match word {
                "all" => rights = Self::ALL,
                "get" => rights.get = true,
                "list" => rights.list = true,
                "put-new" => rights.put_new = true,
                "overwrite" => rights.overwrite = true,
                "delete" => rights.delete = true,
                _ => {
                    return Err(format!(
                        "no such right: {word} (all, get, list, put-new, overwrite, delete)"
                    ));
                }
            }
        }
        Ok(rights)
    }
}

/// An access key, its secret, and its rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The access key, which is no secret.
    pub access: String,
    /// The secret that requests are signed with.
    pub secret: String,
    /// What the holder may do, in every bucket.
    pub rights: Rights,
}

impl Credential {
    /// Returns a credential with these rights.
    #[must_use]
    pub fn new(access: &str, secret: &str, rights: Rights) -> Self {
        Self { access: access.to_owned(), secret: secret.to_owned(), rights }
    }
}

impl FromStr for Credential {
    type Err = String;

    /// Reads `KEY:SECRET` or `KEY:SECRET:RIGHT,RIGHT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let (Some(access), Some(secret)) = (parts.next(), parts.next()) else {
            return Err("a credential is KEY:SECRET or KEY:SECRET:RIGHTS".to_owned());
        };
        let rights = parts.next().map_or(Ok(Rights::ALL), str::parse)?;
        Ok(Self::new(access, secret, rights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_with_their_rights() {
        let capture: Credential = "k:s:get,list,put-new".parse().unwrap();
        assert_eq!(capture, Credential::new("k", "s", Rights::CAPTURE));
        assert_eq!("k:s".parse(), Ok(Credential::new("k", "s", Rights::ALL)));
        assert!("k".parse::<Credential>().is_err());
        assert!("k:s:write".parse::<Credential>().is_err());
    }
}
