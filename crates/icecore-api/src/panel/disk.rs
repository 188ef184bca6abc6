//! A disk, of a volume or a Droplet: its address and its own data.

use maud::Markup;
use maud::html;

use crate::panel::ask::Field;
use crate::panel::form::Fields;
use crate::panel::layout::facts;
use crate::panel::layout::line_to_copy;
use crate::panel::text::bytes;
use crate::service::Service;
use crate::service::items::VolumeItem;
use crate::words::error::ApiResult;

/// Returns the tags field of a form for a new resource.
pub(crate) fn tags_field(fields: &Fields) -> Field<'static> {
    Field::text("tags", "Tags", fields.get("tags")).hint("Separate tags with commas. Optional.")
}

/// Shows how much data of a disk is its own and how much is shared, and its origin.
pub(crate) fn data(item: &VolumeItem) -> ApiResult<Markup> {
    let written = icecore::volume::written_bytes(item.pool.repo(), &item.info.name)?;
    let from = |snapshot: Option<&icecore::snapshot::Snapshot>, nothing: &str| match snapshot {
        Some(snapshot) => html! { (snapshot.name) },
        None => html! { (nothing) },
    };
    let below = item.info.base.as_ref();
    let all = [
        ("Written since its last snapshot", html! { span class="figure" { (bytes(written)) } }),
        (
            "Data in its base snapshot",
            html! { span class="figure" { (bytes(below.map_or(0, |base| base.stats.data_bytes))) } },
        ),
        ("Created from", from(item.info.origin.as_ref(), "nothing: created empty")),
        ("Base", from(below, "nothing")),
    ];
    Ok(html! {
        section class="card" aria-labelledby="data" { h2 id="data" { "Data" } (facts(&all)) }
    })
}

/// Shows the address of a disk, and how programs connect to it.
pub(crate) fn connect(service: &Service, item: &VolumeItem) -> Markup {
    let uri = service.nbd.uri(item.id());
    let socket = quoted(&service.nbd.0.to_string_lossy());
    let qemu = format!("qemu-system-x86_64 -m 1G -drive 'file={uri},format=raw,if=virtio,discard=unmap'");
    html! {
        section class="card" aria-labelledby="connect" {
            h2 id="connect" { "Connect over NBD" }
            (line_to_copy("NBD", &uri))
            (line_to_copy("qemu", &qemu))
            (line_to_copy("nbd-client", &format!("nbd-client -unix {socket} /dev/nbd0 -name {}", item.id())))
            (line_to_copy("nbdfuse", &format!("nbdfuse DIR/disk.raw '{uri}'")))
        }
    }
}

/// Quotes a text as one word for the shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_the_shell() {
        assert_eq!(quoted("/run/x/nbd"), "/run/x/nbd");
        assert_eq!(quoted("/it's here"), "'/it'\\''s here'");
    }
}
