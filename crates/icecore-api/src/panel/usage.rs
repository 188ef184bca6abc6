//! The usage page.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use maud::Markup;
use maud::html;

use crate::db::UsageSample;
use crate::http::params::Params;
use crate::panel::chart;
use crate::panel::chart::Line;
use crate::panel::layout::Menu;
use crate::panel::layout::Page;
use crate::panel::layout::facts;
use crate::panel::layout::heading;
use crate::panel::reply::Reply;
use crate::panel::reply::reply;
use crate::panel::text::bytes;
use crate::panel::text::percent;
use crate::panel::text::time;
use crate::panel::visitor::Visitor;
use crate::service::App;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The selectable periods: the word in the address, the label, the days.
const SPANS: [(&str, &str, i64); 4] =
    [("day", "Day", 1), ("week", "Week", 7), ("month", "Month", 31), ("year", "Year", 366)];
/// The most rows in the table.
const ROWS: usize = 50;

/// The sum over all regions at one time.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    snapshots: u64,
    disks: u64,
    logical: u64,
    data: u64,
    stored: u64,
}

impl Sum {
    fn add(&mut self, sample: &UsageSample) {
        self.snapshots += sample.snapshots;
        self.disks += sample.disks;
        self.logical = self.logical.saturating_add(sample.logical_bytes);
        self.data = self.data.saturating_add(sample.data_bytes);
        self.stored = self.stored.saturating_add(sample.stored_bytes);
    }
}

/// Shows the usage page.
pub(crate) async fn page(State(app): State<App>, visitor: Visitor, params: Params) -> Response {
    reply(app, visitor, move |app, visitor| {
        let wanted = params.get("span").unwrap_or("week");
        let span = SPANS.iter().find(|(key, ..)| *key == wanted).unwrap_or(&SPANS[1]);
        let samples = app.usage.since(visitor.who(), app.clock.now_unix_ms() - span.2 * DAY_MS)?;
        let mut sums = BTreeMap::<i64, Sum>::new();
        samples.iter().for_each(|sample| sums.entry(sample.unix_ms).or_default().add(sample));
        let all: Vec<(i64, Sum)> = sums.into_iter().collect();
        let now = all.last().copied().unwrap_or_default();
        let sharing = app.accounts.may_know_what_is_shared();
        let last = samples.iter().filter(|sample| sample.unix_ms == now.0);
        let body = html! {
            (heading("Usage", &html! {}))
            section class="card" aria-labelledby="now" { h2 id="now" { "Now" } (savings(&now.1, sharing)) }
            section class="card" aria-labelledby="time" {
                h2 id="time" { "Over time" }
                nav class="tabs" aria-label="Span" {
                    @for (key, name, _) in SPANS {
                        a href=(format!("/usage?span={key}")) aria-current=[(key == span.0).then_some("page")] { (name) }
                    }
                }
                (over_time(&all, sharing))
            }
            section class="card" aria-labelledby="regions" { h2 id="regions" { "By region" } (by_region(last, sharing)) }
        };
        let page = Page { visitor: Some(visitor), title: "Usage", menu: Menu::Usage, error: None, body };
        Ok(Reply::Page(page.render()))
    })
    .await
}

fn savings(now: &Sum, sharing: bool) -> Markup {
    let mut bars = vec![
        ("logical", "Size of all snapshots", now.logical),
        ("data", "Data in them without zeros", now.data),
    ];
    if sharing {
        bars.push(("stored", "Stored data, compressed", now.stored));
    }
    let saved = if sharing { now.stored } else { now.data };
    html! {
        (facts(&[
            ("Snapshots", html! { span class="figure" { (now.snapshots) } }),
            ("Volumes and Droplets", html! { span class="figure" { (now.disks) } }),
            ("Saved", html! { span class="figure" { (percent(now.logical.saturating_sub(saved), now.logical)) } }),
        ]))
        (chart::bars(&bars))
    }
}

fn over_time(all: &[(i64, Sum)], sharing: bool) -> Markup {
    let line = |class, name, of: fn(&Sum) -> u64| Line {
        class,
        name,
        points: all.iter().map(|(unix_ms, sum)| (*unix_ms, of(sum))).collect(),
    };
    let mut lines = vec![line("data", "Data", |sum| sum.data)];
    if sharing {
        lines.push(line("stored", "Stored", |sum| sum.stored));
    }
    html! {
        (chart::lines("Bytes over time", &lines))
        details class="numbers" {
            summary { "As a table" }
            table {
                thead { tr {
                    th scope="col" { "Time" } th scope="col" { "Snapshots" } th scope="col" { "Size" } th scope="col" { "Data" }
                    @if sharing { th scope="col" { "Stored" } }
                } }
                tbody { @for (unix_ms, sum) in all.iter().rev().take(ROWS) { tr {
                    td data-name="Time" { (time(*unix_ms)) }
                    td data-name="Snapshots" { (sum.snapshots) }
                    td data-name="Size" { (bytes(sum.logical)) }
                    td data-name="Data" { (bytes(sum.data)) }
                    @if sharing { td data-name="Stored" { (bytes(sum.stored)) } }
                } } }
            }
        }
    }
}

fn by_region<'a>(last: impl Iterator<Item = &'a UsageSample>, sharing: bool) -> Markup {
    html! {
        table {
            thead { tr {
                th scope="col" { "Region" } th scope="col" { "Snapshots" } th scope="col" { "Disks" }
                th scope="col" { "Size" } th scope="col" { "Data" }
                @if sharing { th scope="col" { "Stored" } }
            } }
            tbody { @for sample in last { tr {
                td data-name="Region" { strong { (sample.region) } }
                td data-name="Snapshots" { (sample.snapshots) }
                td data-name="Disks" { (sample.disks) }
                td data-name="Size" { (bytes(sample.logical_bytes)) }
                td data-name="Data" { (bytes(sample.data_bytes)) }
                @if sharing { td data-name="Stored" { (bytes(sample.stored_bytes)) } }
            } } }
        }
    }
}
