//! What surrounds a page of a list.

use serde::Serialize;
use utoipa::ToSchema;

/// Links to other pages.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Links {
    /// None if there is only one page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pages: Option<Pages>,
}

/// The other pages of the list.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Pages {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prev: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<String>,
}

/// Properties of the whole list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Meta {
    /// The number of items on all pages.
    pub(crate) total: usize,
}

/// Makes the object that has a page of a list.
macro_rules! list_body {
    ($(#[$doc:meta])* $name:ident, $field:ident: $item:ty) => {
        $(#[$doc])*
        #[derive(Debug, serde::Serialize, utoipa::ToSchema)]
        pub(crate) struct $name {
            pub(crate) $field: Vec<$item>,
            pub(crate) links: $crate::wire::list::Links,
            pub(crate) meta: $crate::wire::list::Meta,
        }

        impl From<$crate::wire::list::Paged<$item>> for $name {
            fn from(page: $crate::wire::list::Paged<$item>) -> Self {
                Self { $field: page.items, links: page.links, meta: page.meta }
            }
        }
    };
}

/// Makes the object that has one thing, under its name.
macro_rules! body {
    ($(#[$doc:meta])* $name:ident, $field:ident: $item:ty) => {
        $(#[$doc])*
        #[derive(Debug, serde::Serialize, utoipa::ToSchema)]
        pub(crate) struct $name {
            pub(crate) $field: $item,
        }
    };
}

pub(crate) use body;
pub(crate) use list_body;

/// A part of a list, and what surrounds it.
pub(crate) struct Paged<T> {
    pub(crate) items: Vec<T>,
    pub(crate) links: Links,
    pub(crate) meta: Meta,
}
