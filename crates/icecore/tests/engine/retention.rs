//! Retention against a model that puts snapshots into buckets by plain arithmetic, and against
//! calendars made by hand.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use icecore::ErrorKind;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::Snapshot;
use icecore::snapshot::SnapshotId;
use icecore::snapshot::retention::Plan;
use icecore::snapshot::retention::Policy;
use icecore::snapshot::retention::Rule;
use icecore::snapshot::retention::Within;
use icecore::snapshot::retention::plan;
use jiff::tz::Offset;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use uuid::Uuid;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

fn snapshot(resource: &str, number: u128, created_unix_ms: i64) -> Snapshot {
    let (id, name) = (SnapshotId(Uuid::from_u128(number)), format!("{resource}-{number}"));
    Snapshot::new(id, created_unix_ms, ResourceKind::Volume, resource, name)
}

fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn ms(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn within(text: &str) -> Option<Within> {
    Some(text.parse().unwrap())
}

/// Plans for snapshots of one volume, and returns what keeps each, in the order of their times; `-`
/// for those that go.
fn kept_by(times: &[&str], policy: &Policy, now: &str, zone: &TimeZone) -> Vec<String> {
    let snapshots: Vec<Snapshot> = (1..).zip(times).map(|(n, time)| snapshot("v", n, ms(time))).collect();
    words(&plan(&snapshots, policy, ms(now), zone).unwrap())
}

fn words(plan: &Plan) -> Vec<String> {
    let rules = |rules: &[Rule]| rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let decisions = plan.decisions.iter();
    decisions.map(|it| if it.goes() { "-".to_owned() } else { rules(&it.kept_by) }).collect()
}

/// The time by which a snapshot is judged at some time; none for one from the future.
fn age(it: &Snapshot, now: i64) -> Option<i64> {
    let in_id = || match it.id.0.as_u128() >> 76 & 0xf {
        7 => i64::try_from(it.id.0.as_u128() >> 80).unwrap(),
        _ => it.created_unix_ms,
    };
    let at_most = now + 60_000;
    [it.created_unix_ms, in_id()].into_iter().find(|time| *time <= at_most)
}

/// The year and the month of a day since 1970, after Howard Hinnant's `civil_from_days`.
fn year_and_month(day: i64) -> (i64, i64) {
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month)
}

/// The number of the hour, day, week, month or year of a time on a wall whose clock is never set.
fn bucket(kind: usize, wall_ms: i64) -> i64 {
    let day = wall_ms.div_euclid(DAY_MS);
    let (year, month) = year_and_month(day);
    match kind {
        0 => wall_ms.div_euclid(HOUR_MS),
        1 => day,
        // The first of January 1970 was a Thursday.
        2 => (day + 3).div_euclid(7),
        3 => year * 12 + month,
        _ => year,
    }
}

/// What stays, and how many rules keep it.
fn model(
    all: &[Snapshot],
    policy: &Policy,
    days: i64,
    now: i64,
    offset_ms: i64,
) -> BTreeMap<SnapshotId, usize> {
    let counts =
        [policy.keep_hourly, policy.keep_daily, policy.keep_weekly, policy.keep_monthly, policy.keep_yearly];
    let mut kept: BTreeMap<SnapshotId, usize> = BTreeMap::new();
    let resources: BTreeSet<_> = all.iter().map(|it| (it.kind, it.resource.clone())).collect();
    for resource in resources {
        let mut own: Vec<&Snapshot> =
            all.iter().filter(|it| (it.kind, it.resource.clone()) == resource).collect();
        own.sort_by_key(|it| (it.created_unix_ms, it.id));
        let mut keep = |it: &Snapshot| *kept.entry(it.id).or_default() += 1;
        own.iter().filter(|it| age(it, now).is_none()).for_each(|it| keep(it));
        let all_own = own.clone();
        own.retain(|it| age(it, now).is_some());
        let until = |last: &Snapshot| {
            let at = own.iter().position(|it| it.id == last.id).unwrap();
            own[..=at].iter().filter_map(|it| age(it, now)).max().unwrap()
        };
        own.iter().rev().take(policy.keep_last.unwrap_or(0) as usize).for_each(|it| keep(it));
        for (kind, count) in counts.into_iter().enumerate() {
            // The newest comes last, and replaces those before it.
            let newest: BTreeMap<i64, &Snapshot> =
                own.iter().map(|it| (bucket(kind, until(it) + offset_ms), *it)).collect();
            newest.values().rev().take(count.unwrap_or(0) as usize).for_each(|it| keep(it));
        }
        for it in all_own {
            (0..it.tags.iter().filter(|tag| policy.keep_tags.contains(tag)).count()).for_each(|_| keep(it));
            if policy.keep_within.is_some() && (age(it, now).is_none() || now - until(it) <= days * DAY_MS) {
                keep(it);
            }
            if it.protected {
                keep(it);
            }
        }
    }
    kept
}

fn snapshots() -> impl Strategy<Value = Vec<Snapshot>> {
    // Gaps of seconds, minutes, hours and weeks, and none at all.
    let gap = prop_oneof![Just(0), 1..60_000_i64, 60_000..HOUR_MS, HOUR_MS..DAY_MS, DAY_MS..40 * DAY_MS];
    let clock = prop_oneof![Just(None), Just(Some(0)), (0..90 * DAY_MS).prop_map(Some)];
    let one = (gap, 0..3_usize, any::<bool>(), 0..12_u8, 0..6_u8, clock);
    (0..40_000 * DAY_MS, proptest::collection::vec(one, 0..60)).prop_map(|(start, all)| {
        let mut created = start + 31 * DAY_MS;
        let mut made: Vec<Snapshot> = (1..)
            .zip(all)
            .map(|(number, (gap, resource, droplet, protected, tags, clock))| {
                created += gap;
                let mut it = snapshot(["a", "b", "c"][resource], number, created);
                // What the clock showed, which may have been behind.
                if let Some(behind) = clock {
                    let showed = u128::try_from((created - behind).max(0)).unwrap();
                    it.id = SnapshotId(Uuid::from_u128(showed << 80 | 7 << 76 | number));
                }
                it.kind = if droplet { ResourceKind::Droplet } else { ResourceKind::Volume };
                it.protected = protected == 0;
                it.tags =
                    ["x", "y"].iter().take(tags.saturating_sub(3).into()).map(|tag| (*tag).into()).collect();
                it
            })
            .collect();
        // The order in which they are given must not matter.
        made.sort_by_key(|it| it.id.0.as_u128().wrapping_mul(0x9e37_79b9_7f4a_7c15) % 64);
        made
    })
}

fn policies() -> impl Strategy<Value = (Policy, i64)> {
    let count = || proptest::option::of(0..8_u32);
    let counts = (count(), count(), count(), count(), count(), count());
    let tags = proptest::sample::subsequence(vec!["x".to_owned(), "y".to_owned(), "z".to_owned()], 0..3);
    (counts, proptest::option::of(1..400_i64), tags).prop_map(|(counts, days, keep_tags)| {
        let (keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly) = counts;
        let keep_within = days.map(|days| format!("{days}d").parse().unwrap());
        let policy = Policy {
            keep_last,
            keep_hourly,
            keep_daily,
            keep_weekly,
            keep_monthly,
            keep_yearly,
            keep_within,
            keep_tags,
        };
        (policy, days.unwrap_or(0))
    })
}

proptest! {
    #[test]
    fn what_stays_is_what_buckets_say(
        all in snapshots(),
        (policy, days) in policies(),
        hours in -12..14_i8,
        after in -60..30_i64,
    ) {
        let now = all.iter().map(|it| it.created_unix_ms).max().unwrap_or(0) + after * DAY_MS;
        let now = now.max(0);
        let zone = TimeZone::fixed(Offset::constant(hours));
        match plan(&all, &policy, now, &zone) {
            Ok(plan) => {
                prop_assert_eq!(plan.decisions.len(), all.len());
                let kept = plan.decisions.iter().filter(|it| !it.goes());
                let kept: BTreeMap<_, _> = kept.map(|it| (it.snapshot.id, it.kept_by.len())).collect();
                let offset_ms = i64::from(hours) * HOUR_MS;
                prop_assert_eq!(kept, model(&all, &policy, days, now, offset_ms));
                prop_assert!(plan.going().all(|it| !it.protected));
            }
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::InvalidInput);
                // When none is from the future any more.
                let everything_goes = model(&all, &policy, days, 1 << 50, 0).len();
                let protected = all.iter().filter(|it| it.protected).count();
                prop_assert_eq!(everything_goes, protected, "a policy that keeps something was refused");
            }
        }
    }
}

#[test]
fn each_rule_says_in_words_what_it_keeps() {
    let mut all: Vec<Snapshot> = [
        "2024-03-09T10:00:00Z",
        "2026-11-26T23:59:59.999Z",
        "2026-11-27T00:00:00Z",
        "2026-11-27T14:10:00Z",
        "2026-11-27T14:50:00Z",
        "2026-11-28T09:00:00Z",
    ]
    .into_iter()
    .zip(1..)
    .map(|(time, n)| snapshot("v", n, ms(time)))
    .collect();
    all[2].protected = true;
    all[3].tags = vec!["a".into(), "golden".into()];
    let policy = Policy {
        keep_last: Some(1),
        keep_hourly: Some(2),
        keep_daily: Some(3),
        keep_weekly: Some(1),
        keep_monthly: Some(12),
        keep_yearly: Some(0),
        keep_within: within("19h"),
        keep_tags: vec!["golden".into()],
    };
    let plan = plan(&all, &policy, ms("2026-11-28T09:30:00Z"), &TimeZone::UTC).unwrap();
    assert_eq!(
        words(&plan),
        [
            "monthly 2024-03",
            "daily 2026-11-26",
            "protected",
            "tag golden",
            "hourly 2026-11-27 14:00+00:00, daily 2026-11-27, within 19h",
            "last 1 of 1, hourly 2026-11-28 09:00+00:00, daily 2026-11-28, weekly 2026-W48, monthly 2026-11, within 19h",
        ]
    );
    let alone = Policy { keep_last: Some(1), ..Policy::default() };
    let plan =
        icecore::snapshot::retention::plan(&all, &alone, ms("2026-11-29T00:00:00Z"), &TimeZone::UTC).unwrap();
    assert_eq!(words(&plan), ["-", "-", "protected", "-", "-", "last 1 of 1"]);
    assert_eq!(plan.going().map(|it| it.id.0.as_u128()).collect::<Vec<_>>(), [1, 2, 4, 5]);
}

#[test]
fn one_from_the_future_stays_beside_the_others_and_takes_no_place() {
    let times = ["2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", "2099-01-01T00:00:00Z"];
    let now = "2026-11-02T12:00:00Z";
    for (policy, kept) in [
        (Policy { keep_last: Some(1), ..Policy::default() }, "last 1 of 1"),
        (Policy { keep_daily: Some(1), ..Policy::default() }, "daily 2026-11-02"),
        (Policy { keep_yearly: Some(1), ..Policy::default() }, "yearly 2026"),
    ] {
        assert_eq!(kept_by(&times, &policy, now, &TimeZone::UTC), ["-", kept, "from the future"]);
    }
    // What was made since is dated after it. The ids have what the clock showed.
    let showed = ["2099-01-01T00:00:00Z", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"];
    let all = (0..).zip(showed).map(|(n, time)| {
        let id = u128::try_from(ms(time)).unwrap() << 80 | 7 << 76 | 1;
        let mut late = snapshot("v", 0, ms("2099-01-01T00:00:00Z") + n);
        late.id = SnapshotId(Uuid::from_u128(id));
        late
    });
    let policy = Policy { keep_last: Some(1), keep_within: within("1d"), ..Policy::default() };
    let plan = plan(&all.collect::<Vec<_>>(), &policy, ms(now), &TimeZone::UTC).unwrap();
    assert_eq!(words(&plan), ["from the future, within 1d", "-", "last 1 of 1, within 1d"]);
}

#[test]
fn a_policy_that_would_keep_nothing_is_refused() {
    let zeros = Policy { keep_last: Some(0), keep_daily: Some(0), ..Policy::default() };
    for policy in [Policy::default(), zeros] {
        let error = plan(&[snapshot("v", 1, 0)], &policy, 0, &TimeZone::UTC).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("delete all") && error.next_step().is_some(), "{error}");
    }
    // No snapshot can have such a tag.
    let policy = Policy { keep_tags: vec!["two words".into()], ..Policy::default() };
    assert_eq!(policy.check().unwrap_err().kind(), ErrorKind::InvalidInput);
    for one in [
        Policy { keep_yearly: Some(1), ..Policy::default() },
        Policy { keep_within: within("1s"), ..Policy::default() },
        Policy { keep_tags: vec!["x".into()], ..Policy::default() },
    ] {
        assert!(one.check().is_ok(), "{one:?}");
    }
}

#[test]
fn a_droplet_and_a_volume_of_one_name_are_two_resources() {
    let mut all =
        vec![snapshot("web", 1, 0), snapshot("web", 2, 1), snapshot("db", 3, 2), snapshot("web", 4, 3)];
    all[0].kind = ResourceKind::Droplet;
    let policy = Policy { keep_last: Some(1), ..Policy::default() };
    let plan = plan(&all, &policy, 10, &TimeZone::UTC).unwrap();
    let order: Vec<u128> = plan.decisions.iter().map(|it| it.snapshot.id.0.as_u128()).collect();
    assert_eq!(order, [3, 1, 2, 4]);
    assert_eq!(words(&plan), ["last 1 of 1", "last 1 of 1", "-", "last 1 of 1"]);
}

#[test]
fn the_hour_that_comes_twice_when_clocks_are_set_back_is_two() {
    // 02:00 to 03:00 in Berlin on 25 October 2026, first in summer time, then in winter time.
    let times = [
        "2026-10-24T23:30:00Z",
        "2026-10-25T00:10:00Z",
        "2026-10-25T00:50:00Z",
        "2026-10-25T01:10:00Z",
        "2026-10-25T02:20:00Z",
        "2026-10-25T22:59:59Z",
    ];
    let policy = Policy { keep_hourly: Some(4), keep_daily: Some(9), ..Policy::default() };
    assert_eq!(
        kept_by(&times, &policy, "2026-10-26T00:00:00Z", &berlin()),
        [
            "-",
            "-",
            "hourly 2026-10-25 02:00+02:00",
            "hourly 2026-10-25 02:00+01:00",
            "hourly 2026-10-25 03:00+01:00",
            "hourly 2026-10-25 23:00+01:00, daily 2026-10-25",
        ]
    );
}

#[test]
fn days_are_those_of_the_zone_and_have_23_hours_when_clocks_are_set_forward() {
    // 29 March 2026 in Berlin: from 28 March 23:00 to 29 March 22:00 in UTC.
    let times =
        ["2026-03-28T22:59:59Z", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z"];
    let policy = Policy { keep_daily: Some(9), ..Policy::default() };
    let now = "2026-03-30T00:00:00Z";
    let berlin = kept_by(&times, &policy, now, &berlin());
    assert_eq!(berlin, ["daily 2026-03-28", "-", "daily 2026-03-29", "daily 2026-03-30"]);
    let utc = kept_by(&times, &policy, now, &TimeZone::UTC);
    assert_eq!(utc, ["-", "daily 2026-03-28", "-", "daily 2026-03-29"]);
}

#[test]
fn a_day_back_is_the_same_time_on_the_clock_and_24_hours_are_24_hours() {
    let times = ["2026-03-28T10:30:00Z", "2026-03-28T11:00:00Z", "2030-01-01T00:00:00Z"];
    // Noon in Berlin on the day when clocks were set forward.
    let now = "2026-03-29T10:00:00Z";
    let back = |text: &str| {
        kept_by(&times, &Policy { keep_within: within(text), ..Policy::default() }, now, &berlin())
    };
    assert_eq!(back("1d"), ["-", "within 1d", "from the future, within 1d"]);
    assert_eq!(back("24h"), ["within 24h", "within 24h", "from the future, within 24h"]);
}

#[test]
fn weeks_go_across_the_end_of_a_year() {
    let times = [
        "2024-12-29T12:00:00Z", // Sunday of 2024-W52
        "2024-12-30T12:00:00Z", // Monday of 2025-W01
        "2025-01-05T12:00:00Z", // Sunday of it
        "2026-12-28T00:00:00Z", // Monday of 2026-W53
        "2027-01-03T23:59:59Z", // Sunday of it
        "2027-01-04T00:00:00Z",
    ];
    let policy = Policy { keep_weekly: Some(4), keep_yearly: Some(2), ..Policy::default() };
    assert_eq!(
        kept_by(&times, &policy, "2027-01-05T00:00:00Z", &TimeZone::UTC),
        [
            "weekly 2024-W52",
            "-",
            "weekly 2025-W01",
            "yearly 2026",
            "weekly 2026-W53",
            "weekly 2027-W01, yearly 2027"
        ]
    );
}

#[test]
fn a_leap_day_belongs_to_february_and_a_year_back_from_it_is_the_28th() {
    let times =
        ["2027-02-28T00:00:00Z", "2028-02-28T00:00:00Z", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"];
    let policy = Policy { keep_daily: Some(2), keep_monthly: Some(3), ..Policy::default() };
    assert_eq!(
        kept_by(&times, &policy, "2028-03-02T00:00:00Z", &TimeZone::UTC),
        ["monthly 2027-02", "-", "daily 2028-02-29, monthly 2028-02", "daily 2028-03-01, monthly 2028-03"]
    );
    let back = |text: &str, now: &str| {
        let policy = Policy { keep_within: within(text), ..Policy::default() };
        let kept = kept_by(&times, &policy, now, &TimeZone::UTC);
        kept.iter().filter(|word| *word != "-").count()
    };
    assert_eq!(back("1y", "2028-02-29T00:00:00Z"), 4);
    assert_eq!(back("1y", "2028-02-29T00:00:01Z"), 3);
    assert_eq!(back("1mo", "2028-03-31T00:00:00Z"), 2);
    assert_eq!(back("1mo", "2028-03-28T00:00:00Z"), 3);
}

#[test]
fn times_that_no_calendar_has_do_not_stop_a_plan() {
    let all = [i64::MIN, i64::MIN + 1, 0, i64::MAX - 1, i64::MAX].into_iter();
    let all: Vec<Snapshot> = (1..).zip(all).map(|(n, time)| snapshot("v", n, time)).collect();
    let policy = Policy { keep_yearly: Some(9), keep_within: within("19000y"), ..Policy::default() };
    let end = ms("9999-12-30T22:00:00Z");
    for now in [0, 1_800_000_000_000, end] {
        let east = TimeZone::fixed(Offset::MAX);
        let plan = plan(&all, &policy, now, &east).unwrap();
        let goes: Vec<bool> =
            plan.decisions.iter().map(icecore::snapshot::retention::Decision::goes).collect();
        assert!(!goes[1] && !goes[2] && !goes[4], "{:?}", words(&plan));
    }
    for now in [i64::MIN, -1, 253_402_300_800_000, i64::MAX] {
        let error = plan(&all, &policy, now, &TimeZone::UTC).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("clock"), "{error}");
    }
}

#[test]
fn lengths_of_time_are_read_and_written() {
    for (text, written) in [
        ("14d", "14d"),
        ("36h", "36h"),
        ("1y6mo", "1y 6mo"),
        ("2 weeks", "2w"),
        ("P1M", "1mo"),
        ("PT90M", "90min"),
        ("1h 90min", "1h 90min"),
        ("p6m", "6mo"),
        ("90 minutes", "90min"),
    ] {
        assert_eq!(text.parse::<Within>().unwrap().to_string(), written);
        assert_eq!(written.parse::<Within>().unwrap(), text.parse().unwrap());
    }
    for wrong in ["", "14", "d", "0d", "-3d", "3d ago", "1x", "99999999y", "soon"] {
        let error = wrong.parse::<Within>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong}");
        assert!(error.to_string().contains(wrong) && error.next_step().is_some(), "{error}");
    }
}

/// In restic and borg, `6m` is six months. Taken for minutes, it deletes the snapshots of half a
/// year.
#[test]
fn a_bare_m_is_neither_months_nor_minutes() {
    for unclear in ["6m", "1y6m", "1y, 6 m, 3d", "6m ago", "6M", "1h 30m"] {
        let error = unclear.parse::<Within>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{unclear}");
        assert!(error.to_string().contains("months or minutes"), "{error}");
        assert!(format!("{:?}", error.next_step()).contains("mo or min"), "{:?}", error.next_step());
    }
}
