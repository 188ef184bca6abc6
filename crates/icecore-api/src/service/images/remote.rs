//! URLs of images on other machines: which ones may be read, and at which addresses.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use axum::http::Uri;
use icecore_host::config::AllowedHost;
use icecore_host::config::ImportConfig;

use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The port of `https://`.
const PORT: u16 = 443;

/// A URL that the configuration allows.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    pub(super) uri: Uri,
    /// Whether its host may have addresses of a private network.
    pub(super) private: bool,
    /// The URL without its query, for messages: a query may contain secrets.
    pub(crate) name: String,
}

/// Returns whether a URL names another machine.
pub(crate) fn is_remote(url: &str) -> bool {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    ["https", "http"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

impl Remote {
    /// Checks a URL against the configuration.
    ///
    /// # Errors
    /// 422 for a URL that is not allowed, with the key of the configuration that could allow it.
    pub(crate) fn find(config: &ImportConfig, url: &str) -> ApiResult<Self> {
        let bad = |why: &str| Err(ApiError::unprocessable(format!("url {why}")));
        let Ok(uri) = url.split('#').next().unwrap_or(url).parse::<Uri>() else {
            return bad("is malformed");
        };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return bad("must name a machine, such as https://example.com/disk.qcow2");
        };
        if scheme != "https" {
            return bad(
                "must begin with https://: without it, nobody knows who has changed the image on its way",
            );
        }
        if authority.as_str().contains('@') {
            return bad("must not contain a user or a password");
        }
        let host = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
        let port = authority.port_u16().unwrap_or(PORT);
        let name = format!("https://{authority}{}", uri.path());
        let Some(allowed) = config.allows(&host, port) else {
            let hint = match config.hosts.is_empty() && config.private_hosts.is_empty() {
                true => {
                    "imports from other machines are not allowed: add hosts under [import] in the server's configuration"
                }
                false => "the server's configuration lists the allowed hosts under [import]",
            };
            return bad(&format!("names the host {host} at port {port}, which is not allowed ({hint})"));
        };
        Ok(Self { private: allowed == AllowedHost::Private, uri, name })
    }

    /// Returns where a redirect leads. It must be allowed itself, and cannot lead from the internet
    /// into a private network.
    pub(super) fn redirect(&self, config: &ImportConfig, location: &str) -> ApiResult<Self> {
        let origin = self.uri.authority().map_or("", |authority| authority.as_str());
        let whole = match location {
            _ if location.contains("://") => location.to_owned(),
            _ if location.starts_with("//") => format!("https:{location}"),
            _ if location.starts_with('/') => format!("https://{origin}{location}"),
            _ => {
                let dir = self.uri.path().rsplit_once('/').map_or("", |(dir, _)| dir);
                format!("https://{origin}{dir}/{location}")
            }
        };
        let refused = |why: String| {
            ApiError::unprocessable(format!("{} redirects to a URL that is not allowed: {why}", self.name))
        };
        let target = Self::find(config, &whole).map_err(|error| refused(error.message))?;
        if target.private && !self.private {
            return Err(refused(format!("{} is in a private network", target.name)));
        }
        Ok(target)
    }

    /// Returns whether the host may be reached at an address.
    pub(super) fn may_be_at(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if self.private {
            return !address.is_unspecified() && !address.is_multicast();
        }
        match address {
            IpAddr::V4(address) => is_public_v4(address),
            IpAddr::V6(address) => is_public_v6(address),
        }
    }
}

/// Returns whether an address is one of the internet, by IANA's registry of special ones.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        (0 | 10 | 127 | 224.., _, _)
        | (169, 254, _)
        | (192, 168, _)
        | (192, 0, 0 | 2)
        | (192, 88, 99)
        | (198, 51, 100)
        | (203, 0, 113) => true,
        (100, second, _) => (64..128).contains(&second),
        (172, second, _) => (16..32).contains(&second),
        (198, second, _) => (18..20).contains(&second),
        _ => false,
    };
    !special
}

/// As for IPv4. Addresses that stand for one of IPv4 are no public ones either.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let global = a & 0xe000 == 0x2000;
    let special = (a == 0x2001 && (b < 0x0200 || b == 0x0db8)) || a == 0x2002 || (a == 0x3fff && b < 0x1000);
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ImportConfig {
        ImportConfig {
            hosts: vec!["images.example".to_owned(), "cdn.example:8443".to_owned()],
            private_hosts: vec!["nas.lan".to_owned(), "10.0.0.5:8080".to_owned(), "[fd00::1]".to_owned()],
            ..ImportConfig::default()
        }
    }

    #[test]
    fn only_configured_hosts_are_allowed() {
        let find = |url: &str| Remote::find(&config(), url);
        for (url, private) in [
            ("https://images.example/a.qcow2", false),
            ("https://IMAGES.example:443/a?token=secret#x", false),
            ("https://cdn.example:8443/a", false),
            ("https://nas.lan/a", true),
            ("https://10.0.0.5:8080/a", true),
            ("https://[fd00::1]/a", true),
        ] {
            let found = find(url).unwrap();
            assert_eq!(found.private, private, "{url}");
            assert!(!found.name.contains("secret"), "{}", found.name);
        }
        for (url, says) in [
            ("https://evil.example/a", "not allowed"),
            ("https://images.example:8443/a", "not allowed"),
            ("https://cdn.example/a", "not allowed"),
            ("https://images.example.evil/a", "not allowed"),
            ("https://images.example@evil.example/a", "user"),
            ("http://images.example/a", "https://"),
            ("https://", "malformed"),
        ] {
            let error = find(url).unwrap_err();
            assert!(error.status == 422 && error.message.contains(says), "{url}: {error}");
        }
        let off = Remote::find(&ImportConfig::default(), "https://images.example/a").unwrap_err();
        assert!(off.message.contains("[import]"), "{off}");
    }

    #[test]
    fn redirects_lead_to_allowed_hosts_only() {
        let from = Remote::find(&config(), "https://images.example/dir/a.raw?x=1").unwrap();
        let to = |location: &str| from.redirect(&config(), location);
        for (location, leads) in [
            ("b.raw", "https://images.example/dir/b.raw"),
            ("/b.raw", "https://images.example/b.raw"),
            ("//cdn.example:8443/b", "https://cdn.example:8443/b"),
            ("https://cdn.example:8443/b?sig=1", "https://cdn.example:8443/b?sig=1"),
        ] {
            assert_eq!(to(location).unwrap().uri.to_string(), leads);
        }
        for bad in [
            "http://images.example/a",
            "https://evil.example/",
            "https://nas.lan/",
            "https://169.254.169.254/",
        ] {
            assert!(to(bad).unwrap_err().message.contains("redirects"), "{bad}");
        }
        let inside = Remote::find(&config(), "https://nas.lan/a").unwrap();
        assert!(inside.redirect(&config(), "https://10.0.0.5:8080/a").is_ok());
    }

    #[test]
    fn a_public_host_is_at_no_private_address() {
        let at = |url: &str, address: &str| {
            Remote::find(&config(), url).unwrap().may_be_at(address.parse().unwrap())
        };
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.8",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
            "2001::1",
            "ff02::1",
        ] {
            assert!(!at("https://images.example/", private), "{private}");
        }
        for public in
            ["1.1.1.1", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111", "2001:4860::8888"]
        {
            assert!(at("https://images.example/", public), "{public}");
        }
        assert!(at("https://nas.lan/", "192.168.1.1") && at("https://nas.lan/", "127.0.0.1"));
        assert!(!at("https://nas.lan/", "0.0.0.0"));
    }
}
