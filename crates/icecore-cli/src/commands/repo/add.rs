//! `icecore repo add`.

use std::ffi::OsString;
use std::path::PathBuf;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore_host::places::Address;
use icecore_host::places::OptionValue;

use crate::app::App;
use crate::exit::Verdict;
use crate::host;
use crate::json;

/// Give a repository a name
///
/// Writes the name, the address and the options into config.toml in your configuration directory;
/// comments there stay. The repository need not exist yet: `icecore --repo @NAME init` creates it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  icecore repo add lab s3://lab/disks --endpoint https://s3.example.org --region eu-1\n  icecore --repo @lab init"
)]
pub(crate) struct AddArgs {
    /// The name: letters, digits and . - _
    #[arg(value_name = "NAME")]
    name: String,
    /// Where it is: a directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(value_name = "ADDRESS", value_hint = clap::ValueHint::DirPath)]
    address: OsString,
    /// The URL of the service, if it is not that of AWS, Google or Azure
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// The region of the bucket
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The profile of ~/.aws/config and ~/.aws/credentials
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Whether the bucket stands in the path of URLs rather than before the host's name [default:
    /// if there is an endpoint]
    #[arg(long, value_name = "BOOL")]
    path_style: Option<bool>,
    /// Allow an endpoint of another machine without TLS: keys stay secret, data does not
    #[arg(long)]
    allow_http: bool,
    /// Do not sign requests: to read a public bucket
    #[arg(long)]
    anonymous: bool,
    /// The storage account, for Azure
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// A file of credentials: of AWS, or of a service account of Google
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    credentials_file: Option<PathBuf>,
    /// A PEM file with the authorities to trust instead of the system's
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    ca_file: Option<PathBuf>,
}

impl AddArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let mut address = Address::parse(&self.address)?;
        if let Address::Directory(dir) = &mut address {
            *dir = absolute(dir.clone())?;
        }
        let options = self.options()?;
        if !options.is_empty() && !matches!(address, Address::Bucket(_)) {
            let message = format!("{address} is not in a bucket, so it has none of these options");
            return Err(Error::new(ErrorKind::InvalidInput, message).with_hint("leave them out"));
        }
        let file = host::surroundings().add(&self.name, &address, options)?.display().to_string();
        let text = format!("added @{} to {file}", self.name);
        let repository =
            json::NamedRepository { name: self.name.clone(), address: address.to_string(), file };
        app.ui.result(&json::RepoAddResult { repository }, &text)?;
        Ok(Verdict::Clean)
    }

    /// Returns the options that were given, by their keys.
    fn options(&self) -> Result<Vec<(&'static str, OptionValue)>> {
        let mut options = Vec::new();
        let texts = [
            ("endpoint", &self.endpoint),
            ("region", &self.region),
            ("profile", &self.profile),
            ("account", &self.account),
        ];
        for (key, value) in texts {
            options.extend(value.as_deref().map(|value| (key, OptionValue::from(value))));
        }
        options.extend(self.path_style.map(|value| ("path_style", OptionValue::from(value))));
        for (key, is_set) in [("allow_http", self.allow_http), ("anonymous", self.anonymous)] {
            options.extend(is_set.then(|| (key, OptionValue::from(true))));
        }
        for (key, path) in [("credentials_file", &self.credentials_file), ("ca_file", &self.ca_file)] {
            let Some(path) = path else { continue };
            let path = absolute(path.clone())?;
            let Some(text) = path.to_str() else {
                let message = format!("{} is not UTF-8, which the configuration needs", path.display());
                return Err(Error::new(ErrorKind::InvalidInput, message));
            };
            options.push((key, OptionValue::from(text)));
        }
        Ok(options)
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path).map_err(|error| Error::io(format!("looking at {}", path.display()), error))
}
