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

/// Create, list and revoke tokens of the HTTP server
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
    /// Returns the name of the command.
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

/// Create a token and print it
///
/// The token is shown only once: the server keeps its digest. It can see and change everything that
/// its account owns. A running server accepts it at once.
#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// Its name, such as the program that uses it
    #[arg(value_name = "NAME")]
    name: String,
    /// The account that it belongs to [default: the first of the configuration]
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

impl CreateArgs {
    fn run(&self, app: &App) -> Result<Verdict> {
        if self.name.trim().is_empty() || self.name.len() > NAME_BYTES_MAX {
            let message = format!("the name of a token must have 1 to {NAME_BYTES_MAX} bytes");
            return Err(
                Error::new(ErrorKind::InvalidInput, message).with_hint("name the program that uses it")
            );
        }
        let config = self.config.read(app)?;
        let account = self.account.as_deref().unwrap_or(config.first_account()).to_owned();
        if config.account(&account).is_none() {
            let known: Vec<_> = config.accounts.iter().map(|account| account.name.as_str()).collect();
            return Err(Error::new(ErrorKind::NotFound, format!("there is no account {account:?}"))
                .with_hint(format!("the configuration has {}", known.join(", "))));
        }
        let (id, token) = open_database(&config)?.new_token(&account, &self.name, host::now_unix_ms())?;
        app.ui.note(&format!("token {id} of account {account}; it is shown only once"));
        let text = token.clone();
        app.ui.result(&json::TokenCreatedResult { id, account, name: self.name.clone(), token }, &text)?;
        Ok(Verdict::Clean)
    }
}

/// List tokens, oldest first
///
/// Shows their names and times, not the tokens themselves.
#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Do not show the header
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

/// Revoke a token, from the next request on
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
                .with_hint("`icecore token list` lists the tokens"));
        };
        let text = format!("revoked token {} ({})", token.id, ui::printable_name(&token.name));
        app.ui.result(&json::TokenRevokedResult { revoked: json::Token::new(&token) }, &text)?;
        Ok(Verdict::Clean)
    }
}
