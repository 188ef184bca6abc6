//! The configuration of the server, a TOML file: what it serves, to whom, and where things are.

mod load;
mod names;
mod operation;
mod prices;
mod schedule;
mod settings;

pub use crate::config::load::DATABASE;
pub use crate::config::load::check;
pub use crate::config::load::load;
pub use crate::config::load::parse;
pub use crate::config::operation::KeepConfig;
pub use crate::config::operation::LogConfig;
pub use crate::config::operation::LogFormat;
pub use crate::config::operation::LogLevel;
pub use crate::config::operation::MetricsConfig;
pub use crate::config::operation::RequestConfig;
pub use crate::config::operation::Resource;
pub use crate::config::operation::ScheduleConfig;
pub use crate::config::operation::Task;
pub use crate::config::operation::TlsConfig;
pub use crate::config::operation::is_loopback;
pub use crate::config::settings::AccountConfig;
pub use crate::config::settings::AllowedHost;
pub use crate::config::settings::Config;
pub use crate::config::settings::ImageConfig;
pub use crate::config::settings::ImportConfig;
pub use crate::config::settings::NbdConfig;
pub use crate::config::settings::QuotaConfig;
pub use crate::config::settings::RegionConfig;
pub use crate::config::settings::ServerConfig;
pub use crate::config::settings::SizeConfig;
pub use crate::config::settings::Usual;
