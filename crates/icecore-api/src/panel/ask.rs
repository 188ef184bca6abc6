//! Forms: each is a separate page, and the script shows it in a dialog.

use maud::Markup;
use maud::html;

use crate::panel::layout::Menu;
use crate::panel::layout::Page;
use crate::panel::layout::csrf;
use crate::panel::visitor::Visitor;
use crate::words::error::ApiError;

/// A field of a form.
pub(crate) struct Field<'a> {
    name: &'a str,
    label: &'a str,
    value: String,
    kind: Kind,
    required: bool,
    hint: &'a str,
}

enum Kind {
    Text {
        max: u32,
    },
    Number {
        min: u64,
        max: u64,
    },
    /// The values, each with its label.
    Choice(Vec<(String, String)>),
    Check,
    Hidden,
}

impl<'a> Field<'a> {
    const fn new(name: &'a str, label: &'a str, value: String, kind: Kind) -> Self {
        Self { name, label, value, kind, required: false, hint: "" }
    }

    /// Returns a field for a line of text.
    pub(crate) fn text(name: &'a str, label: &'a str, value: &str) -> Self {
        Self::new(name, label, value.to_owned(), Kind::Text { max: 255 })
    }

    /// Returns a field for a whole number.
    pub(crate) fn number(name: &'a str, label: &'a str, value: &str, min: u64, max: u64) -> Self {
        Self::new(name, label, value.to_owned(), Kind::Number { min, max })
    }

    /// Returns a field for one of several values.
    pub(crate) fn choice(name: &'a str, label: &'a str, value: &str, all: Vec<(String, String)>) -> Self {
        Self::new(name, label, value.to_owned(), Kind::Choice(all))
    }

    /// Returns a checkbox; checked is `on`.
    pub(crate) fn check(name: &'a str, label: &'a str, value: &str) -> Self {
        Self::new(name, label, value.to_owned(), Kind::Check)
    }

    /// Returns a hidden field.
    pub(crate) fn hidden(name: &'a str, value: &str) -> Self {
        Self::new(name, "", value.to_owned(), Kind::Hidden)
    }

    /// Marks the field as required.
    pub(crate) fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// Adds a hint on what to enter.
    pub(crate) fn hint(self, hint: &'a str) -> Self {
        Self { hint, ..self }
    }

    fn render(&self) -> Markup {
        let id = format!("field-{}", self.name);
        let hint = format!("{id}-hint");
        let described = (!self.hint.is_empty()).then_some(hint.as_str());
        if let Kind::Hidden = self.kind {
            return html! { input type="hidden" name=(self.name) value=(self.value); };
        }
        html! {
            div class=(if matches!(self.kind, Kind::Check) { "field check" } else { "field" }) {
                label for=(id) { (self.label) }
                (self.input(&id, described))
                @if described.is_some() { p class="hint" id=(hint) { (self.hint) } }
            }
        }
    }

    fn input(&self, id: &str, described: Option<&str>) -> Markup {
        html! {
            @match &self.kind {
                Kind::Text { max } => {
                    input id=(id) type="text" name=(self.name) value=(self.value) maxlength=(max) required[self.required]
                        aria-describedby=[described] autocomplete="off" spellcheck="false";
                }
                Kind::Number { min, max } => {
                    input id=(id) type="number" name=(self.name) value=(self.value) min=(min) max=(max) step="1"
                        required[self.required] aria-describedby=[described];
                }
                Kind::Choice(all) => {
                    select id=(id) name=(self.name) required[self.required] aria-describedby=[described] {
                        @for (value, name) in all {
                            option value=(value) selected[*value == self.value] { (name) }
                        }
                    }
                }
                Kind::Check => {
                    input id=(id) type="checkbox" name=(self.name) checked[self.value == "on"] aria-describedby=[described];
                }
                Kind::Hidden => {}
            }
        }
    }
}

/// A form and its question.
pub(crate) struct Ask<'a> {
    pub(crate) menu: Menu,
    pub(crate) title: &'a str,
    /// The consequences.
    pub(crate) text: Markup,
    pub(crate) fields: Vec<Field<'a>>,
    /// The text of the button.
    pub(crate) submit: &'a str,
    /// Whether it loses data.
    pub(crate) danger: bool,
    /// The address that receives the form.
    pub(crate) path: &'a str,
    /// The address to return to on cancel.
    pub(crate) back: &'a str,
}

impl Ask<'_> {
    /// Writes the page of the form.
    pub(crate) fn page(&self, visitor: &Visitor, error: Option<&ApiError>) -> Markup {
        let body = html! {
            section id="ask" class="card ask" aria-labelledby="ask-title" {
                h1 id="ask-title" { (self.title) }
                (self.text)
                form method="post" action=(self.path) {
                    (csrf(visitor))
                    @for field in &self.fields { (field.render()) }
                    div class="buttons" {
                        button class=(if self.danger { "danger" } else { "primary" }) { (self.submit) }
                        a class="button" href=(self.back) data-close { "Cancel" }
                    }
                }
            }
        };
        Page { visitor: Some(visitor), title: self.title, menu: self.menu, error, body }.render()
    }
}
