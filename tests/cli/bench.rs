//! The benchmark tells everything, and leaves nothing behind. No test looks at a time.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::support::Fixture;
use crate::support::IMAGE_BYTES;

fn names_in(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn texts(list: &Value, field: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|entry| entry[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_sizes_are_those_of_the_images_and_all_stages_and_runs_are_told() {
    let fixture = Fixture::bare();
    fixture.image("disk.raw", 1);
    fixture.image("same.raw", 1);
    let result = fixture.result(&["bench", "disk.raw", "same.raw", "--work", ".", "--plot", "bench.svg"]);
    let data = &result["data"];
    assert_eq!(data["images"], 2);
    assert_eq!(data["image_bytes"], 2 * IMAGE_BYTES);
    assert_eq!(data["used_bytes"], data["allocated_bytes"]);
    // The noise of each image: 300000 bytes from its beginning on, and 70000 up to its end.
    let blocks = 300_000_u64.div_ceil(4096) + IMAGE_BYTES.div_ceil(4096) - (IMAGE_BYTES - 70_000) / 4096;
    assert_eq!(data["data_bytes"], 2 * blocks * 4096);
    assert_eq!(data["unique_bytes"], blocks * 4096);
    assert_eq!(data["image_unique_bytes"], data["data_bytes"]);
    assert_eq!(data["dedup_ratio"], 2.0);
    let metadata_bytes = data["metadata_bytes"].as_u64().unwrap();
    assert!(metadata_bytes > data["manifest_bytes"].as_u64().unwrap() && metadata_bytes < 20_000, "{data}");
    assert!(data["stored_bytes"].as_u64().unwrap() > 370_000, "noise does not compress: {data}");
    let stages = [
        "read",
        "zero_scan",
        "hash",
        "look_up_hit",
        "look_up_miss",
        "compress",
        "check",
        "append",
        "sync",
        "write",
    ];
    assert_eq!(texts(&result["stages"], "stage"), stages);
    let hash = &result["stages"][2];
    assert_eq!((&hash["unit"], &hash["amount"]), (&Value::from("bytes"), &data["data_bytes"]));
    assert_eq!(result["stages"][3]["amount"], blocks);
    let runs = ["capture_unchecked", "capture", "capture_unchanged", "capture_sparse", "restore", "verify"];
    assert_eq!(texts(&result["runs"], "run"), runs);
    let layouts = ["fixed_4_kib", "fixed_64_kib", "fixed_4_mib", "icecore"];
    assert_eq!(texts(&result["what_if"], "layout"), layouts);
    for what_if in result["what_if"].as_array().unwrap() {
        assert_eq!(what_if["sampled_bytes"], what_if["unique_bytes"], "{what_if}");
        let levels: Vec<_> =
            what_if["levels"].as_array().unwrap().iter().map(|it| it["level"].clone()).collect();
        assert_eq!(levels, [-3, 1, 3, 9].map(Value::from));
    }
    assert_eq!(result["plot"], "bench.svg");
    let picture = std::fs::read_to_string(fixture.path("bench.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("zero scan"), "{picture}");
    let left = names_in(&fixture.path("."));
    assert_eq!(left, ["bench.svg", "disk.raw", "same.raw"].map(str::to_owned).into());
}

#[test]
fn the_text_has_a_table_of_stages_one_of_runs_and_one_of_layouts() {
    let fixture = Fixture::bare();
    fixture.image("disk.raw", 1);
    let done = fixture.run(&["bench", "disk.raw", "--level", "3"]).exits(0);
    for text in
        ["Stage alone", "zero scan", "Share", "capture, unchanged", "level 3", "each compressed alone"]
    {
        assert!(done.out.contains(text), "{text:?} is not in {done:?}");
    }
}

#[test]
fn an_image_without_data_and_one_that_is_not_there_are_errors_and_leave_nothing() {
    let fixture = Fixture::bare();
    std::fs::File::create(fixture.path("empty.raw")).unwrap().set_len(1 << 30).unwrap();
    fixture.run(&["bench", "empty.raw", "--work", "."]).exits(2).says(&["no data"]);
    fixture.run(&["bench", "nowhere.raw", "--work", "."]).exits(3).says(&["nowhere.raw"]);
    assert_eq!(names_in(&fixture.path(".")), ["empty.raw".to_owned()].into());
}
