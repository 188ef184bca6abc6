//! The architecture of the server, as a list; what it may not ask the system for; and how long a
//! handler may be.

use icecore_testing::layers;
use icecore_testing::layers::Layers;
use icecore_testing::layers::Sources;
use icecore_testing::layers::without_tests;

/// All modules, from the bottom up. A module imports what stands on lines above its own.
/// `docs/architecture.md` says what they are for.
const LAYERS: &[&[&str]] = &[
    // Words: errors as the API tells them, names, times.
    &[
        "words/hints",
        "words/ids",
        "words/ip_range",
        "words/patience",
        "words/private",
        "words/ssh_key",
        "words/text",
        "words/time",
    ],
    &["words/error"],
    &["words/names"],
    // The database, a file for each table.
    &["db/schema"],
    &["db/connection"],
    &[
        "db/accounts",
        "db/actions",
        "db/destructions",
        "db/first_boots",
        "db/imports",
        "db/numbers",
        "db/offers",
        "db/operation",
        "db/projects",
        "db/sessions",
        "db/ssh_keys",
        "db/tags",
        "db/usage",
        "db/vpcs",
    ],
    &["db"],
    // Regions.
    &["pool/disk", "pool/keys", "pool/labels", "pool/locks", "pool/watch"],
    &["pool/disks", "pool/volumes"],
    &["pool"],
    &["pool/exports"],
    // Services. What the parts of others are made of, and what runs actions.
    &[
        "service/accounts",
        "service/droplets/backups",
        "service/droplets/features",
        "service/droplets/first_boot",
        "service/images/item",
        "service/images/probe",
        "service/images/remote",
        "service/images/source",
        "service/images/spool",
        "service/items",
        "service/jobs",
        "service/scratch",
    ],
    &["service/snapshot_index"],
    &["service/tag_names"],
    &["service/snapshot_lists"],
    &[
        "service/actions",
        "service/disks",
        "service/droplets/item",
        "service/file_systems",
        "service/images/convert",
        "service/images/download",
        "service/snapshots",
        "service/ssh_keys",
    ],
    &["service/attachments", "service/vpcs"],
    &["service/parts"],
    // Accounts, volumes and snapshots.
    &[
        "service/projects",
        "service/sessions",
        "service/tags",
        "service/usage",
        "service/volume_snapshots",
        "service/volumes",
    ],
    &["service/volume_actions"],
    // Images, and then Droplets.
    &["service/images/catalog", "service/images/import"],
    &["service/images/jobs", "service/images/offers"],
    &["service/images/commands"],
    &["service/droplets/catalog", "service/droplets/jobs"],
    &["service/droplets/create"],
    &["service/droplets/commands"],
    &["service/droplets/destructions"],
    // All of them together.
    &["service"],
    &["service/start"],
    // The API's objects.
    &["wire/blank", "wire/error", "wire/list"],
    &[
        "wire/account",
        "wire/image",
        "wire/project",
        "wire/region",
        "wire/snapshot",
        "wire/ssh_key",
        "wire/tag",
        "wire/volume_action",
        "wire/vpc",
    ],
    &["wire/action", "wire/backup_policy", "wire/destruction", "wire/network", "wire/volume"],
    &["wire/droplet", "wire/new_droplet"],
    // HTTP: what all handlers need, the handlers, and what is around them.
    &["http/admission", "http/blocking", "http/body", "http/connection", "http/limits", "http/slash"],
    &["http/auth", "http/host", "http/params"],
    &["http/page"],
    &["http/rate"],
    &["http/answer"],
    &[
        "http/v2/account",
        "http/v2/actions",
        "http/v2/beside",
        "http/v2/projects",
        "http/v2/regions",
        "http/v2/snapshots",
        "http/v2/ssh_keys",
        "http/v2/tags",
        "http/v2/vpcs",
    ],
    &["http/v2/backup_policies", "http/v2/destructions"],
    &["http/v2/droplets", "http/v2/images", "http/v2/volume_snapshots", "http/v2/volumes"],
    &["http/v2/droplet_actions", "http/v2/image_actions", "http/v2/volume_actions"],
    &["http/v2"],
    &["http/openapi"],
    &["http"],
    // The panel: what all pages need, and the pages.
    &["panel/assets", "panel/done", "panel/text", "panel/visitor"],
    &["panel/chart", "panel/layout", "panel/list", "panel/map"],
    &["panel/ask", "panel/reply"],
    &["panel/form", "panel/session"],
    &["panel/disk", "panel/sign_in", "panel/verbs"],
    &["panel/account", "panel/activity", "panel/usage"],
    &["panel/volumes"],
    &["panel/droplets", "panel/images", "panel/snapshots"],
    &["panel/droplet_verbs", "panel/snapshot_verbs", "panel/volume_verbs"],
    &["panel/droplet", "panel/snapshot", "panel/volume"],
    &["panel"],
    // Operation.
    &["ops/metrics"],
    &["ops/health", "ops/log", "ops/schedule/entry"],
    &["ops/schedule/backups"],
    &["ops/schedule/tasks"],
    &["ops", "ops/schedule"],
    // Sockets.
    &["server/disks", "server/tls", "server/wire"],
    &["server/listen"],
    &["server"],
];

/// Time and ids come from below.
const FORBIDDEN: [&str; 6] =
    ["Timestamp::now", "SystemTime::now", "new_v4", "now_v7", "std::env::", "println!"];
/// Lines of a handler, from `async fn` to its closing brace.
const HANDLER_LINES_MAX: usize = 25;

fn sources() -> Sources {
    layers::sources(env!("CARGO_MANIFEST_DIR")).unwrap()
}

#[test]
fn imports_go_down_only() {
    Layers(LAYERS).check(env!("CARGO_MANIFEST_DIR")).unwrap_or_else(|problems| panic!("{problems}"));
}

/// Methods of one service in several files could call each other in circles, and no import would
/// show it.
#[test]
fn a_service_is_in_one_file() {
    let mut elsewhere = Vec::new();
    for (name, source) in sources().iter().filter(|(name, _)| name.starts_with("service/")) {
        for line in without_tests(source).lines().filter(|line| line.starts_with("impl")) {
            let of = line.split(" for ").last().unwrap().trim_start_matches("impl").trim();
            let of = of.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            let declared = |kind: &str| [' ', '(', '<'].map(|end| format!("{kind} {of}{end}"));
            let mut declared = declared("struct").into_iter().chain(declared("enum"));
            let is_here = declared.any(|declared| source.contains(&declared));
            if !is_here {
                elsewhere.push(format!("{name}: {line}"));
            }
        }
    }
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

#[test]
fn time_and_ids_come_from_below() {
    let mut found = Vec::new();
    for (name, source) in &sources() {
        let code = without_tests(source);
        found.extend(
            FORBIDDEN.iter().filter(|word| code.contains(**word)).map(|word| format!("{name}: {word}")),
        );
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn handlers_are_short() {
    let mut long = Vec::new();
    for (name, source) in sources().iter().filter(|(name, _)| name.starts_with("http/v2/")) {
        let lines: Vec<&str> = source.lines().collect();
        for (begin, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("async fn ")) {
            let length = lines[begin..].iter().position(|line| *line == "}").unwrap();
            if length > HANDLER_LINES_MAX {
                long.push(format!("{name}: {} has {length} lines", line.trim()));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}
