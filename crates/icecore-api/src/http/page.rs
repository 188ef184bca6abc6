//! Pagination of lists.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use utoipa::IntoParams;
use utoipa::PartialSchema;
use utoipa::openapi::Required;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::path::ParameterBuilder;
use utoipa::openapi::path::ParameterIn;

use crate::http::connection::Encrypted;
use crate::http::params::Params;
use crate::wire::list::Links;
use crate::wire::list::Meta;
use crate::wire::list::Paged;
use crate::wire::list::Pages;
use crate::words::error::ApiError;
use crate::words::text::in_query;

const PER_PAGE: usize = 20;
const PER_PAGE_MAX: usize = 200;

/// The requested part of a list.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    number: usize,
    size: usize,
    /// The address of the list, on the host that the client used.
    base: String,
    /// The parameters that do not concern pages.
    rest: Vec<(String, String)>,
}

/// The description of the parameters in the OpenAPI document.
impl IntoParams for Page {
    fn into_params(_in: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = |name: &str| {
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query);
            parameter.required(Required::False).schema(Some(u32::schema())).build()
        };
        vec![parameter("page"), parameter("per_page")]
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = Params::from_request_parts(parts, state).await?;
        Ok(Self::new(&params, format!("{}{}", origin(parts), parts.uri.path())))
    }
}

/// Returns the scheme and host that the client used.
pub(crate) fn origin(parts: &Parts) -> String {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let scheme = if parts.extensions.get::<Encrypted>().is_some() { "https" } else { "http" };
    format!("{scheme}://{host}")
}

/// The scheme and host that the client used: the beginning of addresses in answers.
#[derive(Debug, Clone)]
pub(crate) struct Origin(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(origin(parts)))
    }
}

impl Page {
    fn new(params: &Params, base: String) -> Self {
        let number = |name: &str, usual: usize| {
            let value = params.get(name).and_then(|value| value.parse::<i64>().ok());
            value.map_or(usual, |value| usize::try_from(value).unwrap_or(1).max(1))
        };
        let about_pages = |key: &str| key == "page" || key == "per_page";
        let rest = params.0.iter().filter(|(key, _)| !about_pages(key)).cloned().collect();
        Self { number: number("page", 1), size: number("per_page", PER_PAGE).min(PER_PAGE_MAX), base, rest }
    }

    /// Returns the number of items before this page.
    pub(crate) fn offset(&self) -> usize {
        (self.number - 1).saturating_mul(self.size)
    }

    /// Returns the most items on a page.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Returns this page of a list, each item converted by `show`.
    pub(crate) fn of<T, U>(&self, all: Vec<T>, show: impl FnMut(T) -> U) -> Paged<U> {
        let total = all.len();
        let items = all.into_iter().skip(self.offset()).take(self.size).map(show).collect();
        self.with(items, total)
    }

    /// Wraps the items of this page with the facts about the whole list.
    pub(crate) fn with<T>(&self, items: Vec<T>, total: usize) -> Paged<T> {
        let last = total.div_ceil(self.size).max(1);
        let pages = (last > 1).then(|| Pages {
            first: (self.number > 1).then(|| self.url(1)),
            prev: (self.number > 1).then(|| self.url((self.number - 1).min(last))),
            next: (self.number < last).then(|| self.url(self.number + 1)),
            last: (self.number < last).then(|| self.url(last)),
        });
        Paged { items, links: Links { pages }, meta: Meta { total } }
    }

    fn url(&self, number: usize) -> String {
        let mut query = format!("page={number}&per_page={}", self.size);
        for (key, value) in &self.rest {
            query += &format!("&{}={}", in_query(key), in_query(value));
        }
        format!("{}?{query}", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &[(&str, &str)]) -> Page {
        let params = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Page::new(&Params(params), "http://h/v2/things".to_owned())
    }

    fn urls(page: &Page, total: usize) -> [Option<String>; 4] {
        let pages = page.with(Vec::<()>::new(), total).links.pages.unwrap_or_default();
        [pages.first, pages.prev, pages.next, pages.last]
    }

    fn url(query: &str) -> Option<String> {
        Some(format!("http://h/v2/things?{query}"))
    }

    #[test]
    fn only_sensible_pages_are_named() {
        assert_eq!(urls(&page(&[]), 20), [None, None, None, None]);
        let second = url("page=2&per_page=20");
        assert_eq!(urls(&page(&[]), 21), [None, None, second.clone(), second]);
        let middle = page(&[("page", "2"), ("per_page", "2"), ("name", "a&b")]);
        let at = |number: u8| url(&format!("page={number}&per_page=2&name=a%26b"));
        assert_eq!(urls(&middle, 5), [at(1), at(1), at(3), at(3)]);
        let last = page(&[("page", "3"), ("per_page", "2"), ("name", "a&b")]);
        assert_eq!(urls(&last, 5), [at(1), at(2), None, None]);
    }

    #[test]
    fn what_is_out_of_bounds_is_brought_into_them() {
        for (given, number, size) in [("0", 1, 1), ("-3", 1, 1), ("x", 1, 20), ("999", 999, 200)] {
            let page = page(&[("page", given), ("per_page", given)]);
            assert_eq!((page.number, page.size), (number, size), "{given}");
        }
        let beyond = page(&[("page", "9")]).of(vec![1, 2], |item| item);
        assert_eq!((beyond.items, beyond.meta.total), (vec![], 2));
        assert!(
            page(&[("page", "9223372036854775807"), ("per_page", "200")])
                .of(vec![1], |item| item)
                .items
                .is_empty()
        );
    }
}
