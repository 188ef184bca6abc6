//! Public keys of SSH, in the form of OpenSSH's files: `type key [comment]`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Digest;
use md5::Md5;

/// The types of keys, and the number of fields after the type inside each key.
const TYPES: [(&str, usize); 8] = [
    ("ssh-rsa", 2),
    ("ssh-dss", 4),
    ("ssh-ed25519", 1),
    ("ecdsa-sha2-nistp256", 2),
    ("ecdsa-sha2-nistp384", 2),
    ("ecdsa-sha2-nistp521", 2),
    ("sk-ssh-ed25519@openssh.com", 2),
    ("sk-ecdsa-sha2-nistp256@openssh.com", 3),
];
/// The most fields of a key.
const FIELDS_MAX: usize = 4;

/// Returns the fingerprint of a public key: the MD5 digest of its data in hexadecimal, with colons.
/// Returns none if the text is not a public key.
pub(crate) fn fingerprint(text: &str) -> Option<String> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return None;
    }
    let mut words = text.split_whitespace();
    let (kind, data) = (words.next()?, STANDARD.decode(words.next()?).ok()?);
    let (_, fields) = TYPES.iter().find(|(name, _)| *name == kind)?;
    let (inner, mut rest) = field(&data)?;
    if inner != kind.as_bytes() {
        return None;
    }
    for _ in 0..(*fields).min(FIELDS_MAX) {
        let (value, behind) = field(rest)?;
        if value.is_empty() {
            return None;
        }
        rest = behind;
    }
    let bytes = Md5::digest(&data);
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    rest.is_empty().then(|| pairs.join(":"))
}

/// Splits the first field off: four bytes of its length, and its bytes.
fn field(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<4>()?;
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in the documentation of the cloud's API.
    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQDDHr/jh2Jy4yALcK4JyWbVkPRaWmhck3IgCoeOO3z1e2dBowLh64QAM+Qb72pxekALga2oi4GvT+TlWNhzPH4V example";

    #[test]
    fn a_key_has_the_fingerprint_of_the_cloud() {
        let expected = "3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa";
        assert_eq!(fingerprint(RSA).as_deref(), Some(expected));
        assert_eq!(fingerprint(RSA.trim_end_matches(" example")).as_deref(), Some(expected));
        let ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        assert!(fingerprint(ed25519).is_some());
    }

    #[test]
    fn what_is_no_key_has_none() {
        let cut = &RSA[..RSA.len() - 40];
        let other_type = RSA.replacen("ssh-rsa", "ssh-dss", 1);
        let two_lines = format!("{RSA}\n{RSA}");
        for bad in ["", "ssh-rsa", "ssh-rsa AAAA", "x y", "ssh-rsa not/base64!", cut, &other_type, &two_lines]
        {
            assert_eq!(fingerprint(bad), None, "{bad}");
        }
    }
}
