//! The layout of every page: menu, messages.

use maud::DOCTYPE;
use maud::Markup;
use maud::html;

use crate::panel::assets::addresses;
use crate::panel::done::Done;
use crate::panel::visitor::CSRF;
use crate::panel::visitor::Visitor;
use crate::words::error::ApiError;

/// The entry of the menu that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Menu {
    Droplets,
    Volumes,
    Snapshots,
    Images,
    Activity,
    Usage,
    Account,
    None,
}

const MENU: [(Menu, &str, &str); 7] = [
    (Menu::Droplets, "/droplets", "Droplets"),
    (Menu::Volumes, "/volumes", "Volumes"),
    (Menu::Snapshots, "/snapshots", "Backups & Snapshots"),
    (Menu::Images, "/images", "Images"),
    (Menu::Activity, "/activity", "Activity"),
    (Menu::Usage, "/usage", "Usage"),
    (Menu::Account, "/account", "API tokens"),
];

/// A page.
pub(crate) struct Page<'a> {
    /// The visitor; none before signing in.
    pub(crate) visitor: Option<&'a Visitor>,
    pub(crate) title: &'a str,
    pub(crate) menu: Menu,
    /// The error to show.
    pub(crate) error: Option<&'a ApiError>,
    pub(crate) body: Markup,
}

impl Page<'_> {
    /// Writes the page.
    pub(crate) fn render(&self) -> Markup {
        let files = addresses();
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " \u{b7} icecore" }
                    link rel="icon" type="image/svg+xml" href=(files.icon);
                    link rel="stylesheet" href=(files.style);
                    script src=(files.script) defer {}
                }
                body {
                    a class="skip" href="#main" { "Skip to content" }
                    @if let Some(visitor) = self.visitor { (self.side(visitor)) }
                    main id="main" tabindex="-1" class=[self.visitor.is_none().then_some("alone")] {
                        div id="messages" role="status" aria-live="polite" {
                            @if let Some(done) = self.done() { p class="message done" { (done) } }
                        }
                        @if let Some(error) = self.error {
                            p class="message error" role="alert" { (error.message) }
                        }
                        (self.body)
                    }
                }
            }
        }
    }

    fn done(&self) -> Option<&'static str> {
        let (_, query) = self.visitor?.at.split_once('?')?;
        query.split('&').find_map(|pair| Done::sentence(pair.strip_prefix("done=")?))
    }

    fn side(&self, visitor: &Visitor) -> Markup {
        html! {
            header class="side" {
                a class="brand" href="/" { (mark()) "icecore" }
                nav aria-label="Main" {
                    ul {
                        @for (menu, path, name) in MENU {
                            li { a href=(path) aria-current=[(menu == self.menu).then_some("page")] { (name) } }
                        }
                    }
                }
                div class="who" {
                    span title="account" { (visitor.who().0) }
                    button type="button" class="quiet" data-theme-switch hidden { "Theme" }
                    form method="post" action="/sign-out" {
                        (csrf(visitor))
                        button class="quiet" { "Sign out" }
                    }
                }
            }
        }
    }
}

/// Draws the program's logo, beside its name.
fn mark() -> Markup {
    html! {
        svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" {
            path class="mark" d="M12 1 21.5 6.5v11L12 23 2.500 17.500v-11zM12 4.200 5.300 8 12 11.800 18.700 8zM5 10.300v6l6 3.400v-6zM19 10.300l-6 3.400v6l6-3.400z" {}
        }
    }
}

/// Returns the form field that ties a form to its session.
pub(crate) fn csrf(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name=(CSRF) value=(visitor.session.csrf); }
}

/// Writes a heading, with the available operations beside it.
pub(crate) fn heading(title: &str, beside: &Markup) -> Markup {
    html! { div class="heading" { h1 { (title) } div class="actions" { (beside) } } }
}

/// Writes a link to a form, which the script shows in a dialog.
pub(crate) fn ask_link(path: &str, name: &str, class: &str) -> Markup {
    html! { a class=(class) href=(path) data-dialog { (name) } }
}

/// Writes the menu at the end of a row; `of` names the row's object.
pub(crate) fn more(of: &str, entries: &Markup) -> Markup {
    html! {
        details class="more" {
            summary aria-label=(format!("More: {of}")) { "More" }
            div class="entries" { (entries) }
        }
    }
}

/// Writes a list of facts.
pub(crate) fn facts(all: &[(&str, Markup)]) -> Markup {
    html! {
        dl class="facts" {
            @for (name, value) in all { div { dt { (name) } dd { (value) } } }
        }
    }
}

/// Writes a line to copy.
pub(crate) fn line_to_copy(name: &str, line: &str) -> Markup {
    html! {
        div class="line" {
            span class="name" { (name) }
            code tabindex="0" { (line) }
            button type="button" class="quiet" data-copy=(line) hidden aria-label=(format!("Copy: {name}")) { "Copy" }
        }
    }
}

/// Writes a status as a badge.
pub(crate) fn badge(status: &str) -> Markup {
    let class = match status {
        "active" | "available" | "completed" => "good",
        "errored" | "deleted" => "bad",
        "new" | "NEW" | "pending" | "in-progress" => "busy",
        _ => "plain",
    };
    html! { span class=(format!("badge {class}")) { (status) } }
}
