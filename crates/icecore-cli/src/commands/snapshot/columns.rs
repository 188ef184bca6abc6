//! The columns of a table of snapshots, with doctl's names.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::snapshot::Snapshot;

use crate::ui;
use crate::units;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Id,
    Name,
    Created,
    Resource,
    Kind,
    MinDiskSize,
    Size,
    Tags,
    Protected,
    Parent,
    Content,
    ImageBytes,
    DataBytes,
    NewBytes,
    StoredBytes,
    Deleted,
}

const ALL: [Column; 16] = [
    Column::Id,
    Column::Name,
    Column::Created,
    Column::Resource,
    Column::Kind,
    Column::MinDiskSize,
    Column::Size,
    Column::Tags,
    Column::Protected,
    Column::Parent,
    Column::Content,
    Column::ImageBytes,
    Column::DataBytes,
    Column::NewBytes,
    Column::StoredBytes,
    Column::Deleted,
];
/// The default columns.
const USUAL: usize = 8;

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Id => "ID",
            Self::Name => "Name",
            Self::Created => "Created",
            Self::Resource => "Resource",
            Self::Kind => "Type",
            Self::MinDiskSize => "Min Disk Size",
            Self::Size => "Size",
            Self::Tags => "Tags",
            Self::Protected => "Protected",
            Self::Parent => "Parent",
            Self::Content => "Content",
            Self::ImageBytes => "Image Bytes",
            Self::DataBytes => "Data Bytes",
            Self::NewBytes => "New Bytes",
            Self::StoredBytes => "Stored Bytes",
            Self::Deleted => "Deleted",
        }
    }

    fn layout(self) -> ui::Column<'static> {
        match self {
            Self::MinDiskSize
            | Self::Size
            | Self::ImageBytes
            | Self::DataBytes
            | Self::NewBytes
            | Self::StoredBytes => ui::Column::Number(self.title()),
            _ => ui::Column::Text(self.title()),
        }
    }

    fn value(self, snapshot: &Snapshot, deleted_unix_ms: Option<i64>) -> String {
        match self {
            Self::Id => snapshot.id.to_string(),
            Self::Name => snapshot.name.clone(),
            Self::Created => units::time_for_people(snapshot.created_unix_ms),
            Self::Resource => snapshot.resource.clone(),
            Self::Kind => snapshot.kind.as_str().to_owned(),
            Self::MinDiskSize => format!("{} GiB", snapshot.min_disk_gib()),
            Self::Size => units::bytes(snapshot.stats.data_bytes),
            Self::Tags => snapshot.tags.join(","),
            Self::Protected => snapshot.protected.to_string(),
            Self::Parent => snapshot.parent.map_or_else(String::new, |id| id.to_string()),
            Self::Content => snapshot.content.to_string(),
            Self::ImageBytes => snapshot.size_bytes.to_string(),
            Self::DataBytes => snapshot.stats.data_bytes.to_string(),
            Self::NewBytes => snapshot.stats.new_bytes.to_string(),
            Self::StoredBytes => snapshot.stats.stored_bytes.to_string(),
            Self::Deleted => deleted_unix_ms.map_or_else(String::new, units::time_for_people),
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        let plain: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
        // The words on the left are those of doctl's --format.
        let plain = match plain.to_ascii_lowercase().as_str() {
            "createdat" => "created".to_owned(),
            "resourceid" => "resource".to_owned(),
            "resourcetype" => "type".to_owned(),
            other => other.to_owned(),
        };
        let same = |column: &&Self| column.title().replace(' ', "").eq_ignore_ascii_case(&plain);
        ALL.iter().find(same).copied().ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, format!("there is no column {text:?}"))
                .with_hint(format!("the columns are {}", names()))
        })
    }
}

fn names() -> String {
    ALL.map(|column| column.title().replace(' ', "")).join(", ")
}

/// The choice of columns for a table of snapshots.
#[derive(Debug, clap::Args)]
pub(crate) struct FormatArgs {
    /// Show these columns: ID, Name, Created, Resource, Type, MinDiskSize, Size, Tags, Protected,
    /// Parent, Content, ImageBytes, DataBytes, NewBytes, StoredBytes, Deleted
    #[arg(long, value_name = "COL,...", value_delimiter = ',')]
    format: Vec<String>,
    /// Do not show the header
    #[arg(long)]
    no_header: bool,
}

impl FormatArgs {
    /// Returns whether columns, or no header, were chosen.
    pub(crate) fn is_chosen(&self) -> bool {
        !self.format.is_empty() || self.no_header
    }

    /// Returns the chosen columns, or the default ones for snapshots or for deleted snapshots.
    pub(crate) fn columns(&self, deleted: bool) -> Result<Vec<Column>> {
        if self.format.is_empty() {
            let time = |column| if deleted && column == Column::Created { Column::Deleted } else { column };
            return Ok(ALL[..USUAL].iter().copied().map(time).collect());
        }
        self.format.iter().map(|name| Column::parse(name)).collect()
    }

    /// Returns a table of `snapshots`.
    pub(crate) fn table(&self, columns: &[Column], snapshots: &[Snapshot]) -> String {
        self.table_of(columns, snapshots.iter().map(|snapshot| (snapshot, None)))
    }

    /// Returns a table of snapshots, each with the time of its deletion if it was deleted.
    pub(crate) fn table_of<'a>(
        &self,
        columns: &[Column],
        snapshots: impl Iterator<Item = (&'a Snapshot, Option<i64>)>,
    ) -> String {
        let layout: Vec<_> = columns.iter().map(|column| column.layout()).collect();
        let row =
            |(snapshot, deleted)| columns.iter().map(|column| column.value(snapshot, deleted)).collect();
        let rows: Vec<Vec<String>> = snapshots.map(row).collect();
        ui::table(&layout, &rows, !self.no_header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hints::hint_of;

    #[test]
    fn columns_are_known_by_their_titles_and_by_doctls_words() {
        let cases = [
            ("ID", Column::Id),
            ("id", Column::Id),
            ("Min Disk Size", Column::MinDiskSize),
            ("min-disk-size", Column::MinDiskSize),
            ("CreatedAt", Column::Created),
            ("ResourceType", Column::Kind),
        ];
        for (text, column) in cases {
            assert_eq!(Column::parse(text).ok(), Some(column), "{text}");
        }
        assert!(
            Column::parse("Region")
                .is_err_and(|error| hint_of(&error).is_some_and(|hint| hint.contains("MinDiskSize")))
        );
    }

    #[test]
    fn the_help_names_every_column() {
        use clap::Args;
        let command = FormatArgs::augment_args(clap::Command::new("test")).term_width(1000);
        let help = command.clone().render_long_help().to_string();
        assert!(help.contains(&names()), "{help}");
    }
}
