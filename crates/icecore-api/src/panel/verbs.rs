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

/// Things that can be done, each with the word that stands for it in addresses.
pub(crate) trait Verb: Copy + PartialEq + 'static {
    /// All of them.
    const ALL: &'static [(Self, &'static str)];

    /// Returns the verb of a word.
    fn parse(word: &str) -> ApiResult<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == word);
        found.map(|(verb, _)| *verb).ok_or_else(ApiError::not_found)
    }

    /// Returns the address of its form, below that of what it is done to.
    fn path(self, of: &str) -> String {
        let word = Self::ALL.iter().find(|(verb, _)| *verb == self).map_or("", |(_, word)| word);
        format!("{of}/{word}")
    }
}

/// What is asked before something is done.
pub(crate) struct Question {
    pub(crate) title: &'static str,
    /// What will happen.
    pub(crate) text: Markup,
    pub(crate) fields: Vec<Field<'static>>,
    /// Whether something is lost.
    pub(crate) danger: bool,
}

/// Something that can be done something with.
pub(crate) trait Subject: Sized + Send + 'static {
    /// What can be done with it.
    type Verb: Verb + Send;
    /// Where it is in the menu.
    const MENU: Menu;

    /// Finds it.
    fn find(service: &Service, who: &Who, id: &str) -> ApiResult<Self>;

    /// Returns the address of its page.
    fn path(&self) -> String;

    /// Returns what is asked before something is done; `fields` has what was filled in before.
    fn question(
        &self,
        service: &Service,
        who: &Who,
        verb: Self::Verb,
        fields: &Fields,
    ) -> ApiResult<Question>;

    /// Does something, and goes where it can be seen.
    fn perform(&self, service: &Service, who: &Who, verb: Self::Verb, fields: &Fields) -> ApiResult<Reply>;
}

/// The form of something that can be done.
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

/// Does something; where it cannot be done, its form says why.
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

/// Something that a form makes.
pub(crate) trait New: 'static {
    /// The field of the form that its address may fill in; an empty text where there is none.
    const FROM_ADDRESS: &'static str;

    /// Returns the page of the form; `fields` has what was filled in before.
    fn page(
        service: &Service,
        visitor: &Visitor,
        fields: &Fields,
        error: Option<&ApiError>,
    ) -> ApiResult<Markup>;

    /// Makes it, and goes where it can be seen.
    fn make(service: &Service, who: &Who, fields: &Fields) -> ApiResult<Reply>;
}

/// The form of something new.
pub(crate) async fn new<N: New>(State(app): State<App>, visitor: Visitor, params: Params) -> Response {
    reply(app, visitor, move |app, visitor| {
        let given = params.get(N::FROM_ADDRESS).unwrap_or_default();
        Ok(Reply::Page(N::page(app, visitor, &Fields::with(N::FROM_ADDRESS, given), None)?))
    })
    .await
}

/// Makes something; where it cannot be made, its form says why.
pub(crate) async fn create<N: New>(State(app): State<App>, posted: Posted) -> Response {
    let Posted { visitor, fields } = posted;
    reply(app, visitor, move |app, visitor| match N::make(app, visitor.who(), &fields) {
        Ok(done) => Ok(done),
        Err(error) => Ok(Reply::refused(&error, N::page(app, visitor, &fields, Some(&error))?)),
    })
    .await
}
