//! The map of an image: a picture of its data, of shared data, and of changes.

use icecore::snapshot::ImageMap;
use icecore::snapshot::MapCell;
use maud::Markup;
use maud::html;

use crate::panel::text::bytes;
use crate::panel::text::percent;

/// The number of cells in a row, and of rows.
const COLUMNS: usize = 64;
const ROWS: usize = 16;
/// The most cells of a map.
pub(crate) const CELLS: usize = COLUMNS * ROWS;
/// The side of a cell in the picture, and the gap within it.
const SIDE: usize = 12;
const GAP: usize = 1;

/// The look of a cell: its main content, and its amount in quarters, from 1 to 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    class: &'static str,
    quarters: u64,
}

fn look(cell: &MapCell, cell_bytes: u64) -> Look {
    let quarters = |bytes: u64| (u128::from(bytes) * 4).div_ceil(u128::from(cell_bytes.max(1)));
    let quarters = |bytes: u64| u64::try_from(quarters(bytes)).unwrap_or(4).clamp(1, 4);
    let own = cell.data_bytes.saturating_sub(cell.shared_bytes);
    let (class, of) = match cell {
        _ if cell.changed_bytes > 0 => ("changed", cell.changed_bytes),
        _ if cell.data_bytes == 0 => ("zero", cell_bytes),
        _ if own * 2 >= cell.data_bytes => ("own", cell.data_bytes),
        _ => ("shared", cell.data_bytes),
    };
    Look { class, quarters: quarters(of) }
}

fn word(class: &str) -> &'static str {
    match class {
        "changed" => "changed",
        "own" => "data",
        "shared" => "shared data",
        _ => "zeros",
    }
}

/// A run of cells in a row that look alike.
struct Piece {
    look: Look,
    first: usize,
    count: usize,
}

fn pieces(map: &ImageMap) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (number, cell) in map.cells.iter().enumerate() {
        let look = look(cell, map.cell_bytes);
        match pieces.last_mut() {
            Some(last) if last.look == look && number % COLUMNS != 0 => last.count += 1,
            _ => pieces.push(Piece { look, first: number, count: 1 }),
        }
    }
    pieces
}

/// Draws a map; `sharing` says whether it may show shared data.
pub(crate) fn draw(map: &ImageMap, sharing: bool) -> Markup {
    let rows = map.cells.len().div_ceil(COLUMNS).max(1);
    let (width, height) = (COLUMNS * SIDE, rows * SIDE);
    let at = |cells: usize| u64::try_from(cells).unwrap_or(u64::MAX).saturating_mul(map.cell_bytes);
    let total = map.total();
    let size = map.snapshot.size_bytes;
    let alone = total.data_bytes.saturating_sub(total.shared_bytes);
    let kinds = [
        ("own", if sharing { "Own data" } else { "Data" }, Some(alone)),
        ("shared", "Shared data", Some(total.shared_bytes).filter(|_| sharing)),
        ("changed", "Changed", map.against.as_ref().map(|_| total.changed_bytes)),
        ("zero", "Zeros, which take no space", Some(size.saturating_sub(total.data_bytes))),
    ];
    let kinds: Vec<_> =
        kinds.into_iter().filter_map(|(class, name, bytes)| Some((class, name, bytes?))).collect();
    html! {
        svg class="map" role="img" aria-labelledby="map-title" viewBox=(format!("0 0 {width} {height}")) {
            title id="map-title" { "Map of the image; the table below has the same numbers" }
            @for piece in pieces(map) {
                rect class=(format!("{} d{}", piece.look.class, piece.look.quarters))
                    x=(piece.first % COLUMNS * SIDE) y=(piece.first / COLUMNS * SIDE)
                    width=(piece.count * SIDE - GAP) height=(SIDE - GAP) {
                    title {
                        (bytes(at(piece.first))) " to " (bytes(at(piece.first + piece.count).min(size))) ": " (word(piece.look.class))
                    }
                }
            }
        }
        ul class="legend" {
            @for (class, name, of) in &kinds {
                li { span class=(format!("key {class}")) {} (name) ": " strong { (bytes(*of)) } " (" (percent(*of, size)) ")" }
            }
        }
        p class="soft" { "Each square is " (bytes(map.cell_bytes)) ". The paler the square, the less data." }
        details class="numbers" {
            summary { "The map as a table" }
            (numbers(map, sharing))
        }
    }
}

/// Shows the numbers for sixteen equal parts of the image.
fn numbers(map: &ImageMap, sharing: bool) -> Markup {
    let part_cells = map.cells.len().div_ceil(ROWS).max(1);
    let part_bytes = u64::try_from(part_cells).unwrap_or(u64::MAX).saturating_mul(map.cell_bytes);
    let size = map.snapshot.size_bytes;
    let parts = map.cells.chunks(part_cells).zip((0u64..).map(|number| number.saturating_mul(part_bytes)));
    let sum = |cells: &[MapCell], of: fn(&MapCell) -> u64| bytes(cells.iter().map(of).sum());
    html! {
        table {
            thead { tr {
                th scope="col" { "Part" } th scope="col" { "Data" }
                @if sharing { th scope="col" { "Shared" } }
                @if map.against.is_some() { th scope="col" { "Changed" } }
            } }
            tbody { @for (cells, begin) in parts { tr {
                td data-name="Part" { (bytes(begin)) " to " (bytes(begin.saturating_add(part_bytes).min(size))) }
                td data-name="Data" { (sum(cells, |cell| cell.data_bytes)) }
                @if sharing { td data-name="Shared" { (sum(cells, |cell| cell.shared_bytes)) } }
                @if map.against.is_some() { td data-name="Changed" { (sum(cells, |cell| cell.changed_bytes)) } }
            } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_shows_what_matters_most() {
        let of = |data_bytes, shared_bytes, changed_bytes| {
            let look = look(&MapCell { data_bytes, shared_bytes, changed_bytes }, 4096 * 4);
            (look.class, look.quarters)
        };
        assert_eq!(of(0, 0, 0), ("zero", 4));
        assert_eq!(of(4096, 0, 0), ("own", 1));
        assert_eq!(of(4096 * 4, 4096 * 3, 0), ("shared", 4));
        // Data that became zero counts as a change.
        assert_eq!(of(0, 0, 4096 * 2), ("changed", 2));
    }
}
