//! What the sizes of Droplets cost. Clients show and compare prices; the server charges nothing.

use crate::config::settings::SizeConfig;

/// The hours of a month, when an hour is charged.
const HOURS: f64 = 672.0;

/// DigitalOcean's prices, in dollars a month.
const MONTHLY: &[(&str, f64)] = &[
    ("s-1vcpu-512mb-10gb", 4.0),
    ("s-1vcpu-1gb", 6.0),
    ("s-1vcpu-1gb-amd", 7.0),
    ("s-1vcpu-1gb-intel", 7.0),
    ("s-1vcpu-2gb", 12.0),
    ("s-1vcpu-2gb-amd", 14.0),
    ("s-1vcpu-2gb-intel", 14.0),
    ("s-2vcpu-2gb", 18.0),
    ("s-2vcpu-2gb-amd", 21.0),
    ("s-2vcpu-2gb-intel", 21.0),
    ("s-2vcpu-4gb", 24.0),
    ("s-2vcpu-4gb-amd", 28.0),
    ("s-2vcpu-4gb-intel", 28.0),
    ("c-2", 42.0),
    ("s-4vcpu-8gb", 48.0),
    ("s-4vcpu-8gb-amd", 56.0),
    ("s-4vcpu-8gb-intel", 56.0),
    ("g-2vcpu-8gb", 63.0),
    ("c-4", 84.0),
    ("m-2vcpu-16gb", 84.0),
    ("s-8vcpu-16gb", 96.0),
    ("s-8vcpu-16gb-amd", 112.0),
    ("s-8vcpu-16gb-intel", 112.0),
    ("g-4vcpu-16gb", 126.0),
    ("c-8", 168.0),
    ("m-4vcpu-32gb", 168.0),
    ("g-8vcpu-32gb", 252.0),
];

impl SizeConfig {
    /// Returns a size with the usual price of its slug.
    pub fn new(slug: &str, disk: u64, memory: u64, vcpus: u64) -> Self {
        Self { slug: slug.to_owned(), disk, memory, vcpus, price_monthly: None, price_hourly: None }
    }

    /// Returns the price of a month, in dollars.
    pub fn monthly_dollars(&self) -> f64 {
        let usual = || MONTHLY.iter().find(|(slug, _)| *slug == self.slug).map(|(_, price)| *price);
        self.price_monthly.or_else(usual).unwrap_or(0.0)
    }

    /// Returns the price of an hour, in dollars.
    pub fn hourly_dollars(&self) -> f64 {
        let usual = || (self.monthly_dollars() / HOURS * 100_000.0).round() / 100_000.0;
        self.price_hourly.unwrap_or_else(usual)
    }

    /// Returns whether its prices are amounts of money.
    pub(super) fn has_prices(&self) -> bool {
        let is_price = |price: f64| price.is_finite() && price >= 0.0;
        self.price_monthly.is_none_or(is_price) && self.price_hourly.is_none_or(is_price)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(slug: &str, monthly: Option<f64>, hourly: Option<f64>) -> [String; 2] {
        let size =
            SizeConfig { price_monthly: monthly, price_hourly: hourly, ..SizeConfig::new(slug, 25, 1024, 1) };
        [size.monthly_dollars(), size.hourly_dollars()].map(|price| price.to_string())
    }

    #[test]
    fn a_price_is_that_of_the_configuration_or_of_the_cloud() {
        for (slug, monthly, hourly) in [
            ("s-1vcpu-512mb-10gb", "4", "0.00595"),
            ("s-1vcpu-1gb", "6", "0.00893"),
            ("s-2vcpu-4gb", "24", "0.03571"),
            ("s-8vcpu-16gb", "96", "0.14286"),
            ("own", "0", "0"),
        ] {
            assert_eq!(prices(slug, None, None), [monthly, hourly], "{slug}");
        }
        assert_eq!(prices("s-1vcpu-1gb", Some(0.0), None), ["0", "0"]);
        assert_eq!(prices("own", Some(6.72), None), ["6.72", "0.01"]);
        assert_eq!(prices("own", Some(1.0), Some(0.5)), ["1", "0.5"]);
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            let size = SizeConfig { price_monthly: Some(bad), ..SizeConfig::new("s", 1, 1, 1) };
            assert!(!size.has_prices(), "{bad}");
        }
    }
}
