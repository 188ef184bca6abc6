//! Charts, drawn by the server.

use jiff::Timestamp;
use maud::Markup;
use maud::html;

use crate::panel::text::bytes;

/// The size of the picture, and the margins for text.
const WIDTH: i128 = 720;
const HEIGHT: i128 = 220;
const LEFT: i128 = 78;
const RIGHT: i128 = 12;
const TOP: i128 = 12;
const BOTTOM: i128 = 24;
/// The number of horizontal rules.
const RULES: i128 = 4;

/// A line of a chart.
pub(crate) struct Line {
    /// The CSS class that it is drawn with.
    pub(crate) class: &'static str,
    pub(crate) name: &'static str,
    /// Times in milliseconds since 1970, in order, and bytes.
    pub(crate) points: Vec<(i64, u64)>,
}

/// The range of times and values in the picture.
struct Frame {
    begin: i64,
    end: i64,
    most: u64,
}

impl Frame {
    fn of(lines: &[Line]) -> Self {
        let points = || lines.iter().flat_map(|line| &line.points);
        let begin = points().map(|point| point.0).min().unwrap_or(0);
        let end = points().map(|point| point.0).max().unwrap_or(0);
        let most = points().map(|point| point.1).max().unwrap_or(0);
        // The rules then stand at round numbers: quarters of a power of two.
        Self { begin, end, most: most.max(4).checked_next_power_of_two().unwrap_or(u64::MAX) }
    }

    fn x(&self, unix_ms: i64) -> i128 {
        let span = i128::from(self.end) - i128::from(self.begin);
        if span == 0 {
            return WIDTH - RIGHT;
        }
        LEFT + (WIDTH - LEFT - RIGHT) * (i128::from(unix_ms) - i128::from(self.begin)) / span
    }

    fn y(&self, bytes: u64) -> i128 {
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * i128::from(bytes) / i128::from(self.most)
    }
}

/// Draws a line chart over time.
pub(crate) fn lines(title: &str, lines: &[Line]) -> Markup {
    let frame = Frame::of(lines);
    let day = |unix_ms| {
        Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::UNIX_EPOCH).strftime("%Y-%m-%d %H:%M")
    };
    let quarter = frame.most / 4;
    html! {
        svg class="chart" role="img" aria-label=(title) viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) {
            @for (rule, at) in (0..=RULES).zip((0u64..).map(|rule| rule.saturating_mul(quarter))) {
                @let y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * rule / RULES;
                line class="rule" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
                text x=(LEFT - 8) y=(y + 4) text-anchor="end" { (bytes(at)) }
            }
            @for line in lines {
                @let points: Vec<String> = line.points.iter().map(|(at, bytes)| format!("{},{}", frame.x(*at), frame.y(*bytes))).collect();
                polyline class=(line.class) points=(points.join(" ")) {}
                @if let Some((at, bytes_now)) = line.points.last() {
                    circle class=(line.class) cx=(frame.x(*at)) cy=(frame.y(*bytes_now)) r="4" { title { (line.name) ": " (bytes(*bytes_now)) } }
                }
            }
            @if frame.begin != frame.end { text x=(LEFT) y=(HEIGHT - 6) { (day(frame.begin)) } }
            text x=(WIDTH - RIGHT) y=(HEIGHT - 6) text-anchor="end" { (day(frame.end)) " UTC" }
        }
        ul class="legend" {
            @for line in lines {
                li { span class=(format!("key {}", line.class)) {} (line.name)
                    @if let Some((_, now)) = line.points.last() { ": " strong { (bytes(*now)) } }
                }
            }
        }
    }
}

/// Draws bars below each other, the longest at full width.
pub(crate) fn bars(bars: &[(&str, &str, u64)]) -> Markup {
    let most = bars.iter().map(|bar| bar.2).max().unwrap_or(0).max(1);
    html! {
        @for (class, name, of) in bars {
            // A value above zero always shows.
            @let width = (1000 * u128::from(*of)).div_ceil(u128::from(most)).max(if *of > 0 { 4 } else { 0 });
            p { (name) ": " strong { (bytes(*of)) } }
            svg class="bar" viewBox="0 0 1000 14" preserveAspectRatio="none" aria-hidden="true" {
                rect class="back" width="1000" height="14" {}
                rect class=(class) width=(width) height="14" {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stay_in_the_picture() {
        let line =
            Line { class: "data", name: "Data", points: vec![(0, 0), (1000, 1 << 40), (i64::MAX, u64::MAX)] };
        let frame = Frame::of(std::slice::from_ref(&line));
        for (at, bytes) in line.points {
            assert!(
                (LEFT..=WIDTH - RIGHT).contains(&frame.x(at))
                    && (TOP..=HEIGHT - BOTTOM).contains(&frame.y(bytes))
            );
        }
    }
}
