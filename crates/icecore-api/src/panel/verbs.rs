//! Operations with forms: a page asks, and the sent form is executed, on an object or to create
//! one.

use axum::extract::Path;
use axum::extract::State;
use axum::response::Response;
use maud::Markup;

use crate::http::params::Params;
use crate::panel::ask::Ask;
use crate::panel::ask::Field;
use crate::panel::form::Fields;
use crate::panel::form::Posted;
use crate::panel::layout::Menu;
use crate::panel::reply::Reply;
use crate::panel::reply::reply;
use crate::panel::visitor::Visitor;
use crate::service::App;
use crate::service::Service;
use crate::service::accounts::Who;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The operations on a kind of object, each with its word in addresses.
pub(crate) trait Verb: Copy + PartialEq + 'static {
    /// All of them.
    const ALL: &'static [(Self, &'static str)];

    /// Returns the verb for a word.
    fn parse(word: &str) -> ApiResult<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == word);
        found.map(|(verb, _)| *verb).ok_or_else(ApiError::not_found)
    }

    /// Returns the address of its form, below that of the object.
    fn path(self, of: &str) -> String {
        let word = Self::ALL.iter().find(|(verb, _)| *verb == self).map_or("", |(_, word)| word);
        format!("{of}/{word}")
    }
}

/// The form that a visitor must confirm before an operation.
pub(crate) struct Question {
    pub(crate) title: &'static str,
    /// The consequences of the operation.
    pub(crate) text: Markup,
    pub(crate) fields: Vec<Field<'static>>,
    /// Whether it loses data.
    pub(crate) danger: bool,
}

/// A kind of object with operations.
pub(crate) trait Subject: Sized + Send + 'static {
    /// The operations on it.
    type Verb: Verb + Send;
    /// Its place in the menu.
    const MENU: Menu;

    /// Finds the object with an id.
    fn find(service: &Service, who: &Who, id: &str) -> ApiResult<Self>;

    /// Returns the address of the object's page.
    fn path(&self) -> String;

    /// Returns the question to ask before an operation; `fields` has the values entered before.
    fn question(
        &self,
        service: &Service,
        who: &Who,
        verb: Self::Verb,
        fields: &Fields,
    ) -> ApiResult<Question>;

    /// Carries out an operation, and redirects to the page that shows the result.
    fn perform(&self, service: &Service, who: &Who, verb: Self::Verb, fields: &Fields) -> ApiResult<Reply>;
}

/// Shows the form of an operation.
pub(crate) async fn ask<S: Subject>(
    State(app): State<App>,
    visitor: Visitor,
    Path((id, verb)): Path<(String, String)>,
) -> Response {
    reply(app, visitor, move |app, visitor| {
        let subject = S::find(app, visitor.who(), &id)?;
        let verb = S::Verb::parse(&verb)?;
        Ok(Reply::Page(page(&subject, app, visitor, verb, &Fields::default(), None)?))
    })
    .await
}

/// Carries out an operation. If it fails, shows its form again with the reason.
pub(crate) async fn act<S: Subject>(
    State(app): State<App>,
    Path((id, verb)): Path<(String, String)>,
    posted: Posted,
) -> Response {
    let Posted { visitor, fields } = posted;
    reply(app, visitor, move |app, visitor| {
        let verb = S::Verb::parse(&verb)?;
        let subject = S::find(app, visitor.who(), &id)?;
        match subject.perform(app, visitor.who(), verb, &fields) {
            Ok(done) => Ok(done),
            Err(error) => {
                Ok(Reply::refused(&error, page(&subject, app, visitor, verb, &fields, Some(&error))?))
            }
        }
    })
    .await
}

fn page<S: Subject>(
    subject: &S,
    service: &Service,
    visitor: &Visitor,
    verb: S::Verb,
    fields: &Fields,
    error: Option<&ApiError>,
) -> ApiResult<Markup> {
    let Question { title, text, fields, danger } = subject.question(service, visitor.who(), verb, fields)?;
    let back = subject.path();
    let path = verb.path(&back);
    let (submit, menu) = (title, S::MENU);
    let ask = Ask { menu, title, text, fields, submit, danger, path: &path, back: &back };
    Ok(ask.page(visitor, error))
}

/// A kind of object that a form creates.
pub(crate) trait New: 'static {
    /// The form field that the address may fill in; empty if there is none.
    const FROM_ADDRESS: &'static str;

    /// Returns the page of the form; `fields` has the values entered before.
    fn page(
        service: &Service,
        visitor: &Visitor,
        fields: &Fields,
        error: Option<&ApiError>,
    ) -> ApiResult<Markup>;

    /// Creates the object, and redirects to the page that shows it.
    fn make(service: &Service, who: &Who, fields: &Fields) -> ApiResult<Reply>;
}

/// Shows the form for a new object.
pub(crate) async fn new<N: New>(State(app): State<App>, visitor: Visitor, params: Params) -> Response {
    reply(app, visitor, move |app, visitor| {
        let given = params.get(N::FROM_ADDRESS).unwrap_or_default();
        Ok(Reply::Page(N::page(app, visitor, &Fields::with(N::FROM_ADDRESS, given), None)?))
    })
    .await
}

/// Creates an object. If that fails, shows its form again with the reason.
pub(crate) async fn create<N: New>(State(app): State<App>, posted: Posted) -> Response {
    let Posted { visitor, fields } = posted;
    reply(app, visitor, move |app, visitor| match N::make(app, visitor.who(), &fields) {
        Ok(done) => Ok(done),
        Err(error) => Ok(Reply::refused(&error, N::page(app, visitor, &fields, Some(&error))?)),
    })
    .await
}
