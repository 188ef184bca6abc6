//! `icecore token`: who may use the HTTP server.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore_api::open_database;

use crate::app::App;
use crate::commands::serve::config::ConfigArgs;
use crate::exit::Verdict;
use crate::host;
use crate::json;
use crate::ui;
use crate::units;

/// The longest name of a token, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Make, list and revoke tokens of the HTTP server
#[derive(Debug, clap::Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TokenCommand {
    #[command(visible_alias = "c")]
    Create(CreateArgs),
    #[command(visible_alias = "ls")]
    List(ListArgs),
    Revoke(RevokeArgs),
}

impl TokenArgs {
    /// Returns the words of the command.
    pub(crate) fn words(&self) -> &'static str {
        match &self.command {
            TokenCommand::Create(_) => "token create",
            TokenCommand::List(_) => "token list",
            TokenCommand::Revoke(_) => "token revoke",
        }
    }

    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        match &self.command {
            TokenCommand::Create(args) => args.run(app),
            TokenCommand::List(args) => args.run(app),
            TokenCommand::Revoke(args) => args.run(app),
        }
    }
}

/// Make a token, and print it
///
/// It cannot be read again: the server keeps a digest of it. It sees and changes all that its account owns. A server that runs
/// knows it at once.
#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// What people call it, such as the program that it is for
    #[arg(value_name = "NAME")]
    name: String,
    /// The account that it is of [default: the first of the configuration]
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

impl CreateArgs {
    fn run(&self, app: &App) -> Result<Verdict> {
        if self.name.trim().is_empty() || self.name.len() > NAME_BYTES_MAX {
            let message = format!("the name of a token has 1 to {NAME_BYTES_MAX} bytes");
            return Err(Error::new(ErrorKind::InvalidInput, message).with_hint("say what it is for"));
        }
        let config = self.config.read(app)?;
        let account = self.account.as_deref().unwrap_or(config.first_account()).to_owned();
        if config.account(&account).is_none() {
            let known: Vec<_> = config.accounts.iter().map(|account| account.name.as_str()).collect();
            return Err(Error::new(ErrorKind::NotFound, format!("there is no account {account:?}"))
                .with_hint(format!("the configuration has {}", known.join(", "))));
        }
        let (id, token) = open_database(&config)?.new_token(&account, &self.name, host::now_unix_ms())?;
        app.ui.note(&format!("token {id} of the account {account}; this is the only time that it is shown"));
        let text = token.clone();
        app.ui.result(&json::TokenCreatedResult { id, account, name: self.name.clone(), token }, &text)?;
        Ok(Verdict::Clean)
    }
}

/// List tokens, oldest first
///
/// The tokens themselves are not known any more.
#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Show no header
    #[arg(long)]
    no_header: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl ListArgs {
    fn run(&self, app: &App) -> Result<Verdict> {
        let tokens = open_database(&self.config.read(app)?)?.tokens()?;
        let columns = [
            ui::Column::Number("ID"),
            ui::Column::Text("Name"),
            ui::Column::Text("Account"),
            ui::Column::Text("Created"),
            ui::Column::Text("Last used"),
        ];
        let rows: Vec<_> = tokens
            .iter()
            .map(|token| {
                vec![
                    token.id.to_string(),
                    token.name.clone(),
                    token.account.clone(),
                    units::time_for_people(token.created_unix_ms),
                    token.used_unix_ms.map_or_else(|| "never".to_owned(), units::time_for_people),
                ]
            })
            .collect();
        let result = json::TokensResult { tokens: tokens.iter().map(json::Token::new).collect() };
        app.ui.result(&result, &ui::table(&columns, &rows, !self.no_header))?;
        Ok(Verdict::Clean)
    }
}

/// Make a token useless, from the next request on
#[derive(Debug, clap::Args)]
struct RevokeArgs {
    /// Its number in `icecore token list`
    #[arg(value_name = "ID")]
    id: i64,
    #[command(flatten)]
    config: ConfigArgs,
}

impl RevokeArgs {
    fn run(&self, app: &App) -> Result<Verdict> {
        let db = open_database(&self.config.read(app)?)?;
        let token = db.tokens()?.into_iter().find(|token| token.id == self.id);
        let (Some(token), true) = (token, db.revoke_token(self.id)?) else {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no token {}", self.id))
                .with_hint("`icecore token list` shows what is there"));
        };
        let text = format!("revoked token {} ({})", token.id, ui::printable_name(&token.name));
        app.ui.result(&json::TokenRevokedResult { revoked: json::Token::new(&token) }, &text)?;
        Ok(Verdict::Clean)
    }
}
