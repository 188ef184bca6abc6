//! `icecore init`.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::DEFAULT_LEVEL;
use icecore::repository::ParityScheme;
use icecore_host::places::Location;
use icecore_host::places::Store;

use crate::app;
use crate::app::App;
use crate::exit::Verdict;
use crate::host;
use crate::json;
use crate::units;

/// Create an empty repository
///
/// The place is --repo, else ICECORE_REPO, else the default place, where the first `snapshot create`
/// would create a repository anyway. In a bucket, first tries with small objects whether the store
/// keeps apart what several machines write at once.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  icecore --repo /srv/backup init\n  ICECORE_PASSWORD_FILE=backup.password icecore --repo /srv/backup init\n  icecore --repo s3://lab/disks init"
)]
pub(crate) struct InitArgs {
    /// The default zstd level for new data: -7 (fast) to 19 (small)
    #[arg(long, value_name = "LEVEL", default_value_t = DEFAULT_LEVEL, allow_negative_numbers = true,
          value_parser = units::parse_level)]
    level: i32,
    /// Keep parity: with 10+2, up to ten packs share two parity files, and any two lost or damaged
    /// packs of them can be recovered [default: none; see `icecore parity`]
    #[arg(long, value_name = "SCHEME")]
    parity: Option<ParityScheme>,
    /// Seal the repository: nobody reads it without the password or key that you give now
    ///
    /// This is the default if ICECORE_PASSWORD, ICECORE_PASSWORD_FILE, ICECORE_PASSWORD_COMMAND or
    /// ICECORE_IDENTITY is set. Otherwise the password is asked for. If you lose it, the data is lost.
    #[arg(long)]
    seal: bool,
    /// Do not seal the repository, even if a password or an identity is set
    #[arg(long, conflicts_with = "seal")]
    no_seal: bool,
    /// Use the repository from this machine only, if the store does not keep apart what several
    /// machines write
    #[arg(long)]
    one_machine: bool,
}

impl InitArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let place = app.place()?;
        let at = &place.at;
        if !place.is_vacant()? {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("there is already a repository in {at}"),
            )
            .with_hint("use it, or choose another place with --repo"));
        }
        let sources = host::key_sources();
        let sealed = self.seal || (!self.no_seal && sources.are_set());
        let store = at.probe()?;
        self.check_store(at, store)?;
        let repo = match sealed {
            true => app::make_sealed_at(app.ui, at, self.level, self.parity, &sources)?,
            false => app::make_at(at, self.level, self.parity)?,
        };
        let kind = match sealed {
            true => "it is sealed: without the password or key, nobody can read it, not even you".to_owned(),
            false => format!("it is plain: everybody who can read the {} can read the data", at.kind()),
        };
        let mut text = format!("created repository {} in {at}\n{kind}", repo.id());
        if let Some(store) = store {
            text += &format!("\n{}", told(store));
        }
        let result = json::InitResult {
            repository: at.to_string(),
            id: repo.id().to_string(),
            created: units::time_exact(repo.created_unix_ms()),
            sealed,
            store: store.map(json::Store::from),
        };
        app.ui.result(&result, &text)?;
        Ok(Verdict::Clean)
    }
    /// Refuses a store that does not keep apart what several machines write, unless one machine is
    /// all there will be: then notes that.
    fn check_store(&self, at: &Location, store: Option<Store>) -> Result<()> {
        match store {
            Some(store) if !store.many_may_write && !self.one_machine => {
                let message = format!(
                    "the store of {at} does not keep apart what several machines write: it makes an object of a name that is taken"
                );
                Err(Error::new(ErrorKind::Unsupported, message).with_hint(
                    "use another store, or --one-machine if only this machine will ever write to the repository",
                ))
            }
            Some(store) if !store.many_may_write => at.mark_for_one_machine(),
            _ => Ok(()),
        }
    }
}

/// Says what was found out about a store.
pub(crate) fn told(store: Store) -> String {
    let writers = match store.many_may_write {
        true => "the store keeps apart what several machines write: any number of them can use it",
        false => "the store does not keep apart what several machines write: use it from one machine only",
    };
    let mut lines = vec![writers];
    if !store.may_delete {
        lines.push("the credentials may not delete: they suffice to capture, but not for gc");
    }
    if store.retains {
        lines.push("the store keeps what is deleted until its retention ends: only then gc frees space");
    }
    lines.join("\n")
}
