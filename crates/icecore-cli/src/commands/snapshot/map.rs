//! `icecore snapshot map`.

use icecore::Result;
use icecore::snapshot::ImageMap;
use icecore::snapshot::MapCell;
use icecore::snapshot::MapOptions;

use crate::app::App;
use crate::commands::if_interrupted;
use crate::commands::title;
use crate::exit::Verdict;
use crate::json;
use crate::units;

/// The most lines of a picture.
const LINES: usize = 24;

/// Draw where an image has data, which of it is shared with other snapshots, and what changed
///
/// Each character of the picture stands for a part of the image, a multiple of 4 KiB. It shows what
/// most of the data there is: this snapshot's own, or shared, which means that other manifests also
/// name it, anywhere in their images. With --against, a change in the part takes precedence. -o
/// json has the numbers.
#[derive(Debug, clap::Args)]
pub(crate) struct MapArgs {
    /// The snapshot: an id, a unique prefix of an id, a name, or RESOURCE@latest
    #[arg(value_name = "SNAP")]
    snapshot: String,
    /// Show what changed since this snapshot
    #[arg(long, value_name = "SNAP")]
    against: Option<String>,
    /// The number of characters in a line of the picture, 1 to 1000. There are up to 24 lines
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    width: u16,
}

impl MapArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        let snapshot = icecore::snapshot::find(&repo, &self.snapshot)?;
        let against = self.against.as_ref().map(|spec| icecore::snapshot::find(&repo, spec)).transpose()?;
        let width = usize::from(self.width);
        let progress = app.ui.progress("drawing");
        let options =
            MapOptions { cells: width * LINES, against: against.map(|other| other.id), sharing: true };
        let map = icecore::snapshot::image_map(&repo, snapshot.id, &options, &progress)
            .map_err(if_interrupted("nothing was changed"))?;
        drop(progress);
        app.ui.result(&json::MapResult::from(&map), &picture(&map, width))?;
        Ok(Verdict::Clean)
    }
}

/// Returns a map as text.
fn picture(map: &ImageMap, width: usize) -> String {
    let size = units::bytes(map.snapshot.size_bytes);
    let head = format!("{}: {size}, a character is {}", title(&map.snapshot), units::bytes(map.cell_bytes));
    let lines = (0_u64..).zip(map.cells.chunks(width));
    let lines: String = lines
        .map(|(number, cells)| {
            let offset = map.cell_bytes.saturating_mul(number.saturating_mul(width as u64));
            format!("{:>10}  {}\n", units::bytes(offset), cells.iter().map(character).collect::<String>())
        })
        .collect();
    let all = map.total();
    let own = all.data_bytes - all.shared_bytes.min(all.data_bytes);
    let mut legend = vec![
        format!(". zeros, {}", units::bytes(map.snapshot.size_bytes.saturating_sub(all.data_bytes))),
        format!("# own data, {}", units::bytes(own)),
        format!("s shared with other snapshots, {}", units::bytes(all.shared_bytes)),
    ];
    if let Some(other) = &map.against {
        legend.push(format!("+ changed since {}, {}", title(other), units::bytes(all.changed_bytes)));
    }
    format!("{head}\n\n{lines}\n{}", legend.join("\n"))
}

fn character(cell: &MapCell) -> char {
    match cell {
        MapCell { changed_bytes: 1.., .. } => '+',
        MapCell { data_bytes: 0, .. } => '.',
        MapCell { data_bytes, shared_bytes, .. } if shared_bytes >= &(data_bytes / 2) => 's',
        _ => '#',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_says_what_most_of_a_cell_is() {
        let cell = |data_bytes, shared_bytes, changed_bytes| {
            character(&MapCell { data_bytes, shared_bytes, changed_bytes })
        };
        assert_eq!([cell(0, 0, 0), cell(8192, 0, 0), cell(8192, 8192, 0)], ['.', '#', 's']);
        assert_eq!([cell(12288, 4096, 0), cell(12288, 8192, 0)], ['#', 's']);
        assert_eq!([cell(0, 0, 4096), cell(8192, 8192, 4096)], ['+', '+']);
    }
}
