//! What the configuration may call things.

/// Tells whether a text may name a region, an account or a schedule.
pub(super) fn is_word(text: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.chars().next().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text.len() <= 32
        && text.chars().all(good)
}

/// Tells whether a text may name a base image. A number would be taken for the id of one.
pub(super) fn is_slug(text: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    text.chars().next().is_some_and(|first| first.is_ascii_lowercase())
        && text.len() <= 64
        && text.chars().all(good)
}

/// Tells whether a text may be the name of a machine, without a port.
pub(super) fn is_host(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    text.chars().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.len() <= 253
        && text.chars().all(good)
}

/// Returns the host and the port of `host`, `host:port` or `[address]:port`; the port is 443 where
/// none is given.
pub(super) fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (address, rest.is_empty().then_some("443").or_else(|| rest.strip_prefix(':'))?)
        }
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, "443"));
            (Some(host).filter(|host| is_host(host))?, port)
        }
    };
    Some((host, port.parse().ok().filter(|port| *port != 0)?))
}
