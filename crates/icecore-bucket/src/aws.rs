//! What the tools of AWS would use to reach a bucket.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use crate::profile;
use crate::profile::Sections;
use crate::settings::Settings;

/// The region of those who name none.
const REGION: &str = "us-east-1";

/// How a bucket of S3 is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aws {
    pub(crate) region: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) path_style: bool,
    pub(crate) credentials: Credentials,
    pub(crate) authorities: Option<PathBuf>,
}

/// Where credentials come from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Requests are not signed.
    Anonymous,
    /// These.
    Key { id: String, secret: String, token: Option<String> },
    /// A token of another identity, exchanged for credentials of a role.
    WebIdentity { token_file: PathBuf, role: String },
    /// The container's, the task's or the machine's own.
    OfMachine,
}

/// Secrets stay out of logs.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Key { id, .. } => write!(f, "Key({id})"),
            Self::WebIdentity { role, .. } => write!(f, "WebIdentity({role})"),
            Self::OfMachine => f.write_str("OfMachine"),
        }
    }
}

/// The values of one profile, of both files.
struct Profile {
    name: String,
    /// Whether somebody chose it by name.
    named: bool,
    config: BTreeMap<String, String>,
    credentials: BTreeMap<String, String>,
    /// The endpoints of the services that it refers to.
    services: BTreeMap<String, String>,
}

impl Profile {
    fn read(settings: &Settings) -> Result<Self, String> {
        let chosen = settings.options.profile.as_deref().or(settings.variable(&["AWS_PROFILE"]));
        let name = chosen.unwrap_or("default").to_owned();
        let config = file(settings, "AWS_CONFIG_FILE", ".aws/config", None)?;
        let special = settings.options.credentials_file.clone();
        let credentials = file(settings, "AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", special)?;
        let of_config = config
            .get(&format!("profile {name}"))
            .or_else(|| config.get(&name).filter(|_| name == "default"));
        let of_credentials = credentials.get(&name);
        if chosen.is_some() && of_config.is_none() && of_credentials.is_none() {
            return Err(format!("there is no profile {name} in ~/.aws/config and ~/.aws/credentials"));
        }
        let config_values = of_config.cloned().unwrap_or_default();
        let services =
            config_values.get("services").and_then(|services| config.get(&format!("services {services}")));
        let services = services.cloned().unwrap_or_default();
        let credentials = of_credentials.cloned().unwrap_or_default();
        Ok(Self {
            name,
            named: settings.options.profile.is_some(),
            config: config_values,
            credentials,
            services,
        })
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.credentials
            .get(key)
            .or_else(|| self.config.get(key))
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn key(&self) -> Option<Credentials> {
        let (id, secret) = (self.get("aws_access_key_id")?, self.get("aws_secret_access_key")?);
        let token = self.get("aws_session_token").map(str::to_owned);
        Some(Credentials::Key { id: id.to_owned(), secret: secret.to_owned(), token })
    }

    /// Refuses what only the tools of AWS can do.
    fn check(&self) -> Result<(), String> {
        let foreign =
            ["credential_process", "sso_session", "sso_start_url", "source_profile", "credential_source"];
        let Some(key) = foreign.iter().find(|key| self.get(key).is_some()) else { return Ok(()) };
        Err(format!(
            "profile {name} has {key}, which icecore does not follow: run \
             `eval \"$(aws configure export-credentials --profile {name} --format env)\"` first",
            name = self.name
        ))
    }
}

/// Reads one of the files. A missing one is empty, unless somebody named it.
fn file(
    settings: &Settings,
    variable: &str,
    usual: &str,
    special: Option<PathBuf>,
) -> Result<Sections, String> {
    let named = special.or_else(|| settings.variable(&[variable]).map(|path| settings.expanded(path)));
    let Some(path) = named.clone().or_else(|| settings.below_home(usual)) else { return Ok(Sections::new()) };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(profile::parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(Sections::new()),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

impl Aws {
    /// Looks where the tools of AWS look, in their order.
    ///
    /// # Errors
    /// What is wrong with a file, or cannot be followed.
    pub(crate) fn find(settings: &Settings) -> Result<Self, String> {
        let profile = Profile::read(settings)?;
        let options = &settings.options;
        let owned = |value: Option<&str>| value.map(str::to_owned);
        let region = options
            .region
            .clone()
            .or_else(|| owned(settings.variable(&["AWS_REGION", "AWS_DEFAULT_REGION"])))
            .or_else(|| owned(profile.get("region")));
        let of_profile = || {
            let service = profile.services.get("s3.endpoint_url").map(String::as_str);
            owned(service.or(profile.get("s3.endpoint_url")).or(profile.get("endpoint_url")))
        };
        let endpoint = options
            .endpoint
            .clone()
            .or_else(|| owned(settings.variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])))
            .or_else(of_profile);
        if let Some(endpoint) = &endpoint {
            settings.check_endpoint(endpoint)?;
        }
        let style = profile.get("s3.addressing_style").map(|style| style == "path");
        let path_style = options.path_style.or(style).unwrap_or(endpoint.is_some());
        let bundle = || owned(profile.get("ca_bundle")).map(|path| settings.expanded(&path));
        Ok(Self {
            region: region.unwrap_or_else(|| REGION.to_owned()),
            endpoint: endpoint.map(|endpoint| endpoint.trim_end_matches('/').to_owned()),
            path_style,
            credentials: credentials(settings, &profile)?,
            authorities: settings.authorities().or_else(bundle),
        })
    }
}

fn credentials(settings: &Settings, profile: &Profile) -> Result<Credentials, String> {
    if settings.options.anonymous == Some(true) {
        return Ok(Credentials::Anonymous);
    }
    let of_environment =
        match (settings.variable(&["AWS_ACCESS_KEY_ID"]), settings.variable(&["AWS_SECRET_ACCESS_KEY"])) {
            (Some(id), Some(secret)) => {
                let token = settings.variable(&["AWS_SESSION_TOKEN"]).map(str::to_owned);
                Some(Credentials::Key { id: id.to_owned(), secret: secret.to_owned(), token })
            }
            (None, None) => None,
            (Some(_), None) => {
                return Err("AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not".to_owned());
            }
            (None, Some(_)) => {
                return Err("AWS_SECRET_ACCESS_KEY is set, and AWS_ACCESS_KEY_ID is not".to_owned());
            }
        };
    // A profile that the configuration names goes before the environment, as `--profile` does.
    let found = match profile.named || settings.options.credentials_file.is_some() {
        true => profile.key().or(of_environment),
        false => of_environment.or_else(|| profile.key()),
    };
    if let Some(found) = found {
        return Ok(found);
    }
    let of_web = |key: &str| profile.get(key).map(str::to_owned);
    let token_file = settings.variable(&["AWS_WEB_IDENTITY_TOKEN_FILE"]).map(str::to_owned);
    let role = settings.variable(&["AWS_ROLE_ARN"]).map(str::to_owned);
    let both =
        token_file.or_else(|| of_web("web_identity_token_file")).zip(role.or_else(|| of_web("role_arn")));
    if let Some((token_file, role)) = both {
        return Ok(Credentials::WebIdentity { token_file: settings.expanded(&token_file), role });
    }
    profile.check()?;
    let of_container = ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
    if settings.is_on("AWS_EC2_METADATA_DISABLED") && settings.variable(&of_container).is_none() {
        return Err(NO_CREDENTIALS.to_owned());
    }
    Ok(Credentials::OfMachine)
}

/// What to do if there are no credentials.
pub(crate) const NO_CREDENTIALS: &str = "no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a \
    profile in ~/.aws/credentials; this machine has none of its own";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::settings::Options;

    /// A home directory with files of AWS in it.
    fn home(config: &str, credentials: &str) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        fs::write(home.path().join(".aws/config"), config).unwrap();
        fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        home
    }

    fn settings(variables: &[(&str, &str)], home: &Path, options: &Options) -> Settings {
        let find =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::new(&find, Some(home)).with(options.clone())
    }

    fn id(found: Result<Aws, String>) -> String {
        match found.map(|aws| aws.credentials) {
            Ok(Credentials::Key { id, .. }) => id,
            other => format!("{other:?}"),
        }
    }

    const KEYS: &str = "[default]\naws_access_key_id=D\naws_secret_access_key=d\n\
        [lab]\naws_access_key_id=L\naws_secret_access_key=l\naws_session_token=t\n";
    const OF_ENVIRONMENT: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "E"), ("AWS_SECRET_ACCESS_KEY", "e")];

    #[test]
    fn credentials_are_found_in_the_order_of_the_tools() {
        let home = home("", KEYS);
        let find = |variables: &[(&str, &str)], options: &Options| {
            Aws::find(&settings(variables, home.path(), options))
        };
        let (none, lab) = (Options::default(), Options { profile: Some("lab".into()), ..Options::default() });
        assert_eq!(id(find(&[], &none)), "D");
        assert_eq!(id(find(&[("AWS_PROFILE", "lab")], &none)), "L");
        assert_eq!(id(find(&OF_ENVIRONMENT, &none)), "E");
        // The variable AWS_PROFILE does not go before keys in the environment; an option does.
        assert_eq!(id(find(&[OF_ENVIRONMENT[0], OF_ENVIRONMENT[1], ("AWS_PROFILE", "lab")], &none)), "E");
        assert_eq!(id(find(&OF_ENVIRONMENT, &lab)), "L");
        let anonymous = Options { anonymous: Some(true), ..Options::default() };
        assert_eq!(find(&OF_ENVIRONMENT, &anonymous).unwrap().credentials, Credentials::Anonymous);
        let empty = tempfile::tempdir().unwrap();
        let nothing = Aws::find(&settings(&[], empty.path(), &none)).unwrap();
        assert_eq!(nothing.credentials, Credentials::OfMachine);
    }

    #[test]
    fn what_cannot_be_followed_is_refused_with_what_to_do() {
        let home = home("[profile sso]\nsso_session = x\n", KEYS);
        let fails = |variables: &[(&str, &str)]| {
            Aws::find(&settings(variables, home.path(), &Options::default())).unwrap_err()
        };
        assert!(fails(&[("AWS_PROFILE", "sso")]).contains("export-credentials --profile sso"));
        assert!(fails(&[("AWS_PROFILE", "gone")]).contains("no profile gone"));
        assert!(fails(&[("AWS_ACCESS_KEY_ID", "E")]).contains("AWS_SECRET_ACCESS_KEY is not"));
        assert!(fails(&[("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/x")]).contains("/nowhere/x"));
        let empty = tempfile::tempdir().unwrap();
        let off = settings(&[("AWS_EC2_METADATA_DISABLED", "true")], empty.path(), &Options::default());
        assert_eq!(Aws::find(&off).unwrap_err(), NO_CREDENTIALS);
    }

    #[test]
    fn endpoints_regions_and_styles_are_found_in_order() {
        let home = home(
            "[default]\nregion=eu-west-1\n[profile lab]\nregion=lab-1\nservices=x\nendpoint_url=https://no\ns3 =\n \
             addressing_style=virtual\n[services x]\ns3 =\n endpoint_url = https://lab/\n",
            "",
        );
        let find = |variables: &[(&str, &str)], options: &Options| {
            let aws = Aws::find(&settings(variables, home.path(), options)).unwrap();
            (aws.region, aws.endpoint, aws.path_style)
        };
        let none = Options::default();
        assert_eq!(find(&[], &none), ("eu-west-1".into(), None, false));
        assert_eq!(
            find(&[("AWS_PROFILE", "lab")], &none),
            ("lab-1".into(), Some("https://lab".into()), false)
        );
        let variables = [
            ("AWS_DEFAULT_REGION", "a"),
            ("AWS_ENDPOINT_URL", "https://b"),
            ("AWS_ENDPOINT_URL_S3", "https://c"),
        ];
        assert_eq!(find(&variables, &none), ("a".into(), Some("https://c".into()), true));
        let options = Options {
            endpoint: Some("https://d".into()),
            region: Some("r".into()),
            path_style: Some(false),
            ..Options::default()
        };
        assert_eq!(find(&variables, &options), ("r".into(), Some("https://d".into()), false));
    }
}
