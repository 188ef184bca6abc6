//! The features of a Droplet that a client asks for. The server runs no machine, so a feature is a
//! label.

use crate::pool::labels;
use crate::pool::labels::Labels;

/// What a client asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) monitoring: bool,
    pub(crate) ipv6: bool,
    pub(crate) private_networking: bool,
    pub(crate) without_public_network: bool,
}

impl Features {
    /// Reads them from a Droplet's labels.
    pub(crate) fn read(from: &Labels) -> Self {
        let is = |key: &str| labels::text(from, key) == Some(labels::YES);
        Self {
            monitoring: is(labels::MONITORING),
            ipv6: is(labels::IPV6),
            private_networking: is(labels::PRIVATE_NETWORKING),
            without_public_network: labels::text(from, labels::PUBLIC_NETWORKING) == Some(labels::NO),
        }
    }

    /// Writes them to a Droplet's labels.
    pub(crate) fn write(self, to: &mut Labels) {
        for (key, asked, text) in [
            (labels::MONITORING, self.monitoring, labels::YES),
            (labels::IPV6, self.ipv6, labels::YES),
            (labels::PRIVATE_NETWORKING, self.private_networking, labels::YES),
            (labels::PUBLIC_NETWORKING, self.without_public_network, labels::NO),
        ] {
            labels::set(to, key, if asked { text } else { "" });
        }
    }
}
