//! Lists: tables sorted and filtered by the query of the URL, so that they need no script.

use std::cmp::Ordering;

use maud::Markup;
use maud::Render;
use maud::html;

use crate::http::params::Params;
use crate::panel::text::count;
use crate::words::text::in_query;

/// Rows on a page.
const PAGE_ROWS: usize = 50;

/// A column.
pub(crate) struct Column {
    /// Its word in the address, to sort by it.
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
}

/// Returns a column.
pub(crate) const fn column(key: &'static str, name: &'static str) -> Column {
    Column { key, name }
}

/// The sort key of a cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i128),
    Text(String),
}

/// A cell.
pub(crate) struct Cell {
    shown: Markup,
    key: Key,
    /// The text that a filter searches.
    text: String,
}

impl Cell {
    /// Returns a cell that shows its text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { shown: text.render(), key: Key::Text(text.to_lowercase()), text }
    }

    /// Returns a cell that shows a text in another form.
    pub(crate) fn shown(text: impl Into<String>, shown: Markup) -> Self {
        Self { shown, ..Self::text(text) }
    }

    /// Returns a cell that sorts by a number.
    pub(crate) fn number(number: impl Into<i128>, shown: impl Render) -> Self {
        Self { shown: shown.render(), key: Key::Number(number.into()), text: String::new() }
    }
}

/// A row.
pub(crate) struct Row {
    /// One cell for each column.
    pub(crate) cells: Vec<Cell>,
    /// The menu of operations on it.
    pub(crate) menu: Markup,
}

impl Row {
    fn render(&self, columns: &[Column]) -> Markup {
        html! {
            tr {
                @for (column, cell) in columns.iter().zip(&self.cells) {
                    td data-name=(column.name) { (cell.shown) }
                }
                td class="menu" { (self.menu) }
            }
        }
    }
}

/// Writes a table that cannot be sorted.
pub(crate) fn plain_table(caption: &str, columns: &[Column], rows: &[Row]) -> Markup {
    table(caption, &html! { @for column in columns { th scope="col" { (column.name) } } }, columns, rows)
}

fn table(caption: &str, heads: &Markup, columns: &[Column], rows: &[Row]) -> Markup {
    html! {
        table {
            caption class="unseen" { (caption) }
            thead { tr {
                (heads)
                th { span class="unseen" { "Actions" } }
            } }
            tbody { @for row in rows { (row.render(columns)) } }
        }
    }
}

/// The sorting and filter in the address of a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Choice {
    filter: String,
    sort: String,
    descending: bool,
    page: usize,
}

impl From<&Params> for Choice {
    fn from(params: &Params) -> Self {
        let get = |name: &str| params.get(name).unwrap_or_default().to_owned();
        let page = params.get("page").and_then(|page| page.parse().ok()).unwrap_or(1);
        Self { filter: get("filter"), sort: get("sort"), descending: get("order") == "desc", page }
    }
}

impl Choice {
    /// Returns which rows are on the page, of this many: how many are before it, and how many it
    /// has. All of them have to be looked at if they are filtered or sorted.
    pub(crate) fn part(&self, total: usize) -> (usize, usize) {
        if !self.is_plain() {
            return (0, usize::MAX);
        }
        let pages = total.div_ceil(PAGE_ROWS).max(1);
        ((self.page.clamp(1, pages) - 1) * PAGE_ROWS, PAGE_ROWS)
    }

    /// Tells whether rows are neither filtered nor sorted.
    pub(crate) fn is_plain(&self) -> bool {
        self.filter.trim().is_empty() && self.sort.is_empty()
    }
}

/// A list.
pub(crate) struct List<'a> {
    /// Its address, without a query.
    pub(crate) path: &'a str,
    /// Its caption for screen readers.
    pub(crate) caption: &'a str,
    pub(crate) columns: &'a [Column],
    /// All rows, or those of the page.
    pub(crate) rows: Vec<Row>,
    /// The number of all rows, if `rows` has only those of the page.
    pub(crate) total: Option<usize>,
    pub(crate) choice: &'a Choice,
    /// The text for an empty list: the next step.
    pub(crate) empty: Markup,
}

impl List<'_> {
    /// Writes the list.
    pub(crate) fn render(mut self) -> Markup {
        if self.rows.is_empty() {
            return html! { div id="list" class="card empty" { (self.empty) } };
        }
        if self.total.is_none() {
            self.keep_what_is_looked_for();
            self.sort();
        }
        let total = self.total.unwrap_or(self.rows.len());
        let pages = total.div_ceil(PAGE_ROWS).max(1);
        let page = self.choice.page.clamp(1, pages);
        let before = if self.total.is_some() { 0 } else { (page - 1) * PAGE_ROWS };
        let rows: Vec<Row> = self.rows.drain(..).skip(before).take(PAGE_ROWS).collect();
        let heads = html! { @for column in self.columns { (self.head(column)) } };
        html! {
            (self.search())
            div id="list" class="card" {
                (table(self.caption, &heads, self.columns, &rows))
                @if rows.is_empty() { p class="nothing" { "No match for " q { (self.choice.filter) } ". " a href=(self.path) { "Show all" } } }
                (self.foot(total, page, pages))
            }
        }
    }

    fn keep_what_is_looked_for(&mut self) {
        let wanted = self.choice.filter.to_lowercase();
        let words: Vec<&str> = wanted.split_whitespace().collect();
        self.rows.retain(|row| {
            let texts: Vec<String> = row.cells.iter().map(|cell| cell.text.to_lowercase()).collect();
            words.iter().all(|word| texts.iter().any(|text| text.contains(word)))
        });
    }

    fn sort(&mut self) {
        let Some(at) = self.columns.iter().position(|column| column.key == self.choice.sort) else { return };
        let order = |a: &Row, b: &Row| match (a.cells.get(at), b.cells.get(at)) {
            (Some(a), Some(b)) => a.key.cmp(&b.key),
            _ => Ordering::Equal,
        };
        // Equal rows keep their order.
        self.rows.sort_by(|a, b| if self.choice.descending { order(b, a) } else { order(a, b) });
    }

    fn search(&self) -> Markup {
        html! {
            form class="search" method="get" action=(self.path) role="search" data-live {
                label class="unseen" for="filter" { "Filter" }
                input id="filter" type="search" name="filter" value=(self.choice.filter) placeholder="Filter" autocomplete="off";
                @if !self.choice.sort.is_empty() {
                    input type="hidden" name="sort" value=(self.choice.sort);
                    @if self.choice.descending { input type="hidden" name="order" value="desc"; }
                }
                button class="quiet" { "Filter" }
            }
        }
    }

    fn address(&self, sort: &str, descending: bool, page: usize) -> String {
        let mut address = format!("{}?filter={}", self.path, in_query(&self.choice.filter));
        if !sort.is_empty() {
            address += &format!("&sort={}", in_query(sort));
        }
        if descending {
            address += "&order=desc";
        }
        if page > 1 {
            address += &format!("&page={page}");
        }
        address
    }

    fn head(&self, column: &Column) -> Markup {
        let sorted = self.choice.sort == column.key;
        let state = match (sorted, self.choice.descending) {
            (true, false) => Some("ascending"),
            (true, true) => Some("descending"),
            (false, _) => None,
        };
        let address = self.address(column.key, sorted && !self.choice.descending, 1);
        html! { th scope="col" aria-sort=[state] { a href=(address) { (column.name) } } }
    }

    fn foot(&self, total: usize, page: usize, pages: usize) -> Markup {
        let to = |page| self.address(&self.choice.sort, self.choice.descending, page);
        html! {
            div class="foot" {
                span { (count(total, "entry", "entries")) }
                @if pages > 1 {
                    nav aria-label="Pages" {
                        @if page > 1 { a rel="prev" href=(to(page - 1)) { "Previous" } }
                        span { "Page " (page) " of " (pages) }
                        @if page < pages { a rel="next" href=(to(page + 1)) { "Next" } }
                    }
                }
            }
        }
    }
}
