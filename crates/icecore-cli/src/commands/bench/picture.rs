//! The chart of a benchmark.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::bench::BenchReport;
use plotters::coord::Shift;
use plotters::element::Rectangle;
use plotters::element::Text;
use plotters::prelude::DrawingArea;
use plotters::prelude::IntoDrawingArea;
use plotters::prelude::SVGBackend;
use plotters::style::Color;
use plotters::style::IntoFont;
use plotters::style::RGBColor;
use plotters::style::WHITE;
use plotters::style::text_anchor::HPos;
use plotters::style::text_anchor::Pos;
use plotters::style::text_anchor::VPos;

use crate::commands::bench::tables;

const WIDTH: u32 = 860;
const ROW: i32 = 24;
const TITLE: i32 = 34;
const MARGIN: i32 = 16;
/// The start of bars, and the length of the longest.
const BAR_LEFT: i32 = 190;
const BAR_WIDTH: i32 = 520;
const INK: RGBColor = RGBColor(38, 50, 56);
const GROUND: RGBColor = RGBColor(226, 232, 236);
const ONE_CORE: RGBColor = RGBColor(128, 176, 208);
const ALL_CORES: RGBColor = RGBColor(25, 103, 154);

/// A bar: its name, the filled parts of the full width, widest first, and the text behind it.
struct Bar {
    name: &'static str,
    parts: Vec<(f64, RGBColor)>,
    value: String,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Returns the chart as SVG.
pub(crate) fn draw(report: &BenchReport) -> Result<String> {
    let panels = [
        (
            format!(
                "Each stage alone: one core (light), {} cores (dark); logarithmic, 10 MB/s to 100 GB/s",
                report.cores
            ),
            stage_bars(report),
        ),
        ("Share of the limit that whole commands reach".to_owned(), run_bars(report)),
    ];
    let rows: i32 = panels.iter().map(|(_, bars)| TITLE + ROW * i32::try_from(bars.len()).unwrap_or(0)).sum();
    let mut svg = String::new();
    let size = (WIDTH, u32::try_from(rows + 2 * MARGIN).unwrap_or(0));
    paint(&SVGBackend::with_string(&mut svg, size).into_drawing_area(), &panels)
        .map_err(|error| Error::new(ErrorKind::Io, format!("drawing the result: {error}")))?;
    Ok(svg)
}

/// Returns the bars of the stages that work on bytes. The scale is logarithmic: from 10 MB/s to 100
/// GB/s.
fn stage_bars(report: &BenchReport) -> Vec<Bar> {
    let part = |amount: u64, seconds: f64| ((amount as f64 / seconds / 1e7).log10() / 4.0).clamp(0.0, 1.0);
    let look_ups = [icecore::bench::Stage::LookUpHit, icecore::bench::Stage::LookUpMiss];
    let stages = report.stages.iter().filter(|time| !look_ups.contains(&time.stage));
    let bar = |time: &icecore::bench::StageTime| {
        let mut parts = vec![(part(time.amount, time.one_core_seconds), ONE_CORE)];
        parts.extend(time.all_cores_seconds.map(|seconds| (part(time.amount, seconds), ALL_CORES)));
        parts.sort_by(|one, other| other.0.total_cmp(&one.0));
        let fastest = time.all_cores_seconds.unwrap_or(time.one_core_seconds);
        Bar { name: tables::stage_name(time.stage), parts, value: tables::speed(time, fastest) }
    };
    stages.map(bar).collect()
}

fn run_bars(report: &BenchReport) -> Vec<Bar> {
    let bar = |time: &icecore::bench::RunTime| Bar {
        name: tables::run_name(time.run),
        parts: vec![(time.limit_share().unwrap_or(0.0).clamp(0.0, 1.0), ALL_CORES)],
        value: tables::share(time),
    };
    report.runs.iter().map(bar).collect()
}

/// Returns the pixel where a bar of this part of the full width ends.
fn end_of(part: f64) -> i32 {
    let pixels = (0..=BAR_WIDTH).take_while(|pixel| f64::from(*pixel) <= part * f64::from(BAR_WIDTH));
    BAR_LEFT + pixels.last().unwrap_or(0)
}

fn paint(area: &Area<'_>, panels: &[(String, Vec<Bar>)]) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&WHITE)?;
    let font = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let middle = |pos| Pos::new(pos, VPos::Center);
    let mut top = MARGIN;
    for (title, bars) in panels {
        area.draw(&Text::new(title.as_str(), (MARGIN, top + TITLE / 2), font(16).pos(middle(HPos::Left))))?;
        top += TITLE;
        for bar in bars {
            let (above, below, centre) = (top + 4, top + ROW - 4, top + ROW / 2);
            let name = font(13).pos(middle(HPos::Right));
            area.draw(&Text::new(bar.name, (BAR_LEFT - 8, centre), name))?;
            let whole = [(BAR_LEFT, above), (BAR_LEFT + BAR_WIDTH, below)];
            area.draw(&Rectangle::new(whole, GROUND.filled()))?;
            for (part, colour) in &bar.parts {
                let filled = [(BAR_LEFT, above), (end_of(*part), below)];
                area.draw(&Rectangle::new(filled, colour.filled()))?;
            }
            let value = font(13).pos(middle(HPos::Left));
            area.draw(&Text::new(bar.value.as_str(), (BAR_LEFT + BAR_WIDTH + 8, centre), value))?;
            top += ROW;
        }
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_end_where_their_part_of_the_width_does() {
        assert_eq!((end_of(0.0), end_of(0.5), end_of(1.0)), (190, 450, 710));
    }
}
