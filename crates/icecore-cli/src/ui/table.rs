//! Tables in the style of doctl: columns without lines.

use comfy_table::CellAlignment;
use comfy_table::Table;
use comfy_table::presets;

use crate::ui::out::printable_name;

const GAP: u16 = 3;

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column<'a> {
    /// A column of text, aligned to the left.
    Text(&'a str),
    /// A column of numbers, aligned to the right.
    Number(&'a str),
}

/// Returns a table as text, one line per row.
pub(crate) fn table(columns: &[Column<'_>], rows: &[Vec<String>], with_header: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if with_header {
        table.set_header(columns.iter().map(|column| match column {
            Column::Text(name) | Column::Number(name) => *name,
        }));
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| printable_name(cell).into_owned()));
    }
    for (column, kind) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, GAP));
        if matches!(kind, Column::Number(_)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// Returns names and values as text, one line per pair, indented by `indent` spaces.
pub(crate) fn pairs(indent: usize, pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| {
        let line = format!("{:indent$}{name:width$}   {value}", "");
        format!("{}\n", line.trim_end())
    };
    pairs.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_do_not_end_in_spaces() {
        let rows = [vec!["web-1".into(), "1.0 MiB".into()], vec!["b".into(), "12.0 GiB".into()]];
        let text = table(&[Column::Text("Name"), Column::Number("Size")], &rows, true);
        assert_eq!(text, "Name        Size\nweb-1    1.0 MiB\nb       12.0 GiB");
    }
}
