//! Retention: decides by a policy which snapshots stay and which go. It only plans; the caller
//! deletes.

use std::fmt;
use std::str::FromStr;

use jiff::Span;
use jiff::SpanFieldwise;
use jiff::Timestamp;
use jiff::ZonedDateTime;
use jiff::tz::TimeZone;

use crate::verbs::catalog::Snapshot;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::names::ResourceKind;
use crate::words::names::check_tag;
use crate::words::time::check_time;
use crate::words::time::is_future;

/// The rules of retention. Each rule looks at one resource's snapshots alone, and a snapshot stays
/// if any rule keeps it. A count of 0 is the same as no rule. A snapshot from the future stays and
/// does not count: a wrong clock made it, and it must not take another one's place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// How many of the newest to keep.
    pub keep_last: Option<u32>,
    /// Keeps the newest snapshot of each hour, for this many hours that have any. The next four
    /// work alike.
    pub keep_hourly: Option<u32>,
    /// Keeps the newest of each day.
    pub keep_daily: Option<u32>,
    /// Keeps the newest of each ISO week, which starts on Monday.
    pub keep_weekly: Option<u32>,
    /// Keeps the newest of each month.
    pub keep_monthly: Option<u32>,
    /// Keeps the newest of each year.
    pub keep_yearly: Option<u32>,
    /// Keeps all that are not older than this.
    pub keep_within: Option<Within>,
    /// Keeps all that have one of these tags.
    pub keep_tags: Vec<String>,
}

impl Policy {
    /// Checks that the policy has a rule.
    ///
    /// # Errors
    /// `InvalidInput` if it has no rule, and so would keep no snapshot, or if a tag is invalid.
    pub fn check(&self) -> Result<()> {
        self.keep_tags.iter().try_for_each(|tag| check_tag(tag))?;
        let counts = PERIODS.map(|period| period.count(self));
        let none = |count: &Option<u32>| count.unwrap_or(0) == 0;
        let nothing = counts.iter().all(none) && none(&self.keep_last);
        if nothing && self.keep_within.is_none() && self.keep_tags.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "a policy without a rule would delete all snapshots",
            )
            .with_hint("say what to keep, for example the last 7 and the newest of each of 12 months"));
        }
        Ok(())
    }
}

/// The length of time for which a policy keeps all snapshots: positive, by the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within(SpanFieldwise);

impl Within {
    /// Returns the earliest time within it, in milliseconds since 1970.
    pub fn earliest(self, now: &ZonedDateTime) -> i64 {
        // A time before all representable times is before all snapshots.
        now.checked_sub(self.0.0).map_or(i64::MIN, |earliest| earliest.timestamp().as_millisecond())
    }
}

impl FromStr for Within {
    type Err = Error;

    /// Parses a length of time: `14d`, `36h`, `2w`, `6mo`, `90min`, `1y 6mo`, or `P14D` as in ISO
    /// 8601. A bare `m` is refused: it means months in other programs, and once meant minutes in
    /// this one.
    fn from_str(text: &str) -> Result<Self> {
        const HINT: &str = "write numbers with y, mo, w, d, h, min or s, such as 14d, 36h or 1y 6mo";
        let wrong = |why: &str| {
            Error::new(ErrorKind::InvalidInput, format!("{text:?} is not a duration{why}")).with_hint(HINT)
        };
        if has_bare_m(text) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("{text:?} is ambiguous: `m` can be months or minutes"),
            )
            .with_hint("write mo or min"));
        }
        let span = Span::from_str(text).map_err(|error| wrong(&format!(": {error}")))?;
        if !span.is_positive() {
            return Err(wrong(": it is negative"));
        }
        Ok(Self(span.fieldwise()))
    }
}

/// Tells whether one of the units in `text` is a lone `m`. ISO 8601 is exempt, because it
/// distinguishes months and minutes by position.
fn has_bare_m(text: &str) -> bool {
    let is_iso = text.trim_start_matches(['+', '-']).starts_with(['P', 'p']);
    !is_iso && text.split(|c: char| !c.is_alphabetic()).any(|unit| unit.eq_ignore_ascii_case("m"))
}

impl fmt::Display for Within {
    /// Writes a form that can be parsed again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in format!("{:#}", self.0.0).split(' ').enumerate() {
            let space = if index == 0 { "" } else { " " };
            let rest_of_minutes = if has_bare_m(part) { "in" } else { "" };
            write!(f, "{space}{part}{rest_of_minutes}")?;
        }
        Ok(())
    }
}

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// An hour of local time. When the clock is set back, the repeated hour counts as two.
    Hour,
    /// A day.
    Day,
    /// An ISO week.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

const PERIODS: [Period; 5] = [Period::Hour, Period::Day, Period::Week, Period::Month, Period::Year];

impl Period {
    /// Returns how many of these periods a policy keeps a snapshot of.
    fn count(self, policy: &Policy) -> Option<u32> {
        match self {
            Self::Hour => policy.keep_hourly,
            Self::Day => policy.keep_daily,
            Self::Week => policy.keep_weekly,
            Self::Month => policy.keep_monthly,
            Self::Year => policy.keep_yearly,
        }
    }

    /// Returns the name of the period that contains a time. Each period has its own.
    fn name_at(self, time: &ZonedDateTime) -> String {
        let format = match self {
            Self::Hour => "%Y-%m-%d %H:00%:z",
            Self::Day => "%Y-%m-%d",
            Self::Week => "%G-W%V",
            Self::Month => "%Y-%m",
            Self::Year => "%Y",
        };
        time.strftime(format).to_string()
    }
}

/// The reason why a snapshot stays. It prints as a few readable words: `last 1 of 3`, `daily
/// 2026-11-27`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// It is one of the newest.
    Last {
        /// Its position; the newest is 1.
        number: u32,
        /// How many the policy keeps.
        of: u32,
    },
    /// It is the newest of a period.
    Newest {
        /// The kind of period.
        period: Period,
        /// The period: `2026-11-27 14:00+01:00`, `2026-11-27`, `2026-W48`, `2026-11`, `2026`.
        name: String,
    },
    /// It is not older than this.
    Within(Within),
    /// It is from the future.
    Future,
    /// It has this tag.
    Tag(String),
    /// It is protected.
    Protected,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last { number, of } => write!(f, "last {number} of {of}"),
            Self::Newest { period, name } => {
                let word = match period {
                    Period::Hour => "hourly",
                    Period::Day => "daily",
                    Period::Week => "weekly",
                    Period::Month => "monthly",
                    Period::Year => "yearly",
                };
                write!(f, "{word} {name}")
            }
            Self::Within(within) => write!(f, "within {within}"),
            Self::Future => f.write_str("from the future"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Protected => f.write_str("protected"),
        }
    }
}

/// The decision about a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// All rules that keep it. If there are none, it goes.
    pub kept_by: Vec<Rule>,
}

impl Decision {
    /// Tells whether the snapshot goes.
    pub fn goes(&self) -> bool {
        self.kept_by.is_empty()
    }
}

/// The decisions about all snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// By resource, oldest first.
    pub decisions: Vec<Decision>,
}

impl Plan {
    /// Returns the snapshots that go, by resource, oldest first.
    pub fn going(&self) -> impl Iterator<Item = &Snapshot> {
        self.decisions.iter().filter(|decision| decision.goes()).map(|decision| &decision.snapshot)
    }
}

/// Decides which of `snapshots` stay. The policy applies to each droplet and each volume
/// separately. Hours, days and the rest are those of `zone`; `now_unix_ms` is in milliseconds since
/// 1970. A protected snapshot always stays, and counts like the others. A snapshot from the future
/// always stays and does not count.
///
/// # Errors
/// As [`Policy::check`], and `InvalidInput` for a time before 1970 or after 9999.
pub fn plan(snapshots: &[Snapshot], policy: &Policy, now_unix_ms: i64, zone: &TimeZone) -> Result<Plan> {
    policy.check()?;
    check_time(now_unix_ms)?;
    let now = at(now_unix_ms, zone);
    let within = policy.keep_within.map(|within| (within, within.earliest(&now)));
    let decision = |snapshot: &Snapshot| Decision { snapshot: snapshot.clone(), kept_by: Vec::new() };
    let mut decisions: Vec<Decision> = snapshots.iter().map(decision).collect();
    decisions.sort_by(|a, b| order(&a.snapshot).cmp(&order(&b.snapshot)));
    let same = |a: &Decision, b: &Decision| resource(&a.snapshot) == resource(&b.snapshot);
    for of_resource in decisions.chunk_by_mut(same) {
        let mut counters = Counters::new(policy);
        let ages = ages(of_resource, now_unix_ms);
        for (decision, time) in of_resource.iter_mut().zip(ages).rev() {
            let Decision { snapshot, kept_by } = decision;
            match is_future(time, now_unix_ms) {
                true => kept_by.push(Rule::Future),
                false => counters.count(&at(time, zone), kept_by),
            }
            let recent = within.filter(|(_, earliest)| time >= *earliest);
            kept_by.extend(recent.map(|(within, _)| Rule::Within(within)));
            let tags = snapshot.tags.iter().filter(|tag| policy.keep_tags.contains(tag));
            kept_by.extend(tags.cloned().map(Rule::Tag));
            kept_by.extend(snapshot.protected.then_some(Rule::Protected));
        }
    }
    Ok(Plan { decisions })
}

/// Returns the times by which the snapshots of a resource are judged. Snapshots are given oldest
/// first. No time is before that of an older snapshot, as long as neither is from the future.
fn ages(of_resource: &[Decision], now_unix_ms: i64) -> Vec<i64> {
    let mut newest = i64::MIN;
    let age = |decision: &Decision| {
        let age = decision.snapshot.age_unix_ms(now_unix_ms);
        if is_future(age, now_unix_ms) {
            return age;
        }
        newest = newest.max(age);
        newest
    };
    of_resource.iter().map(age).collect()
}

fn resource(snapshot: &Snapshot) -> (&str, ResourceKind) {
    (&snapshot.resource, snapshot.kind)
}

fn order(snapshot: &Snapshot) -> ((&str, ResourceKind), i64, SnapshotId) {
    (resource(snapshot), snapshot.created_unix_ms, snapshot.id)
}

/// Returns a time in a zone. A time beyond the representable years, as a damaged record may have,
/// is moved to their end.
fn at(unix_ms: i64, zone: &TimeZone) -> ZonedDateTime {
    let end = if unix_ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(unix_ms).unwrap_or(end).to_zoned_datetime(zone.clone())
}

/// The state of the counting rules while they go through a resource's snapshots, from newest to
/// oldest.
struct Counters {
    last_max: u32,
    last: u32,
    periods: Vec<PeriodCounter>,
}

struct PeriodCounter {
    period: Period,
    left: u32,
    /// The period of the snapshot before.
    name: Option<String>,
}

impl Counters {
    fn new(policy: &Policy) -> Self {
        let counter =
            |period: Period| period.count(policy).map(|left| PeriodCounter { period, left, name: None });
        let periods = PERIODS.into_iter().filter_map(counter).collect();
        Self { last_max: policy.keep_last.unwrap_or(0), last: 0, periods }
    }

    /// Adds the rules that keep the next older snapshot.
    fn count(&mut self, time: &ZonedDateTime, kept_by: &mut Vec<Rule>) {
        if self.last < self.last_max {
            self.last += 1;
            kept_by.push(Rule::Last { number: self.last, of: self.last_max });
        }
        for counter in self.periods.iter_mut().filter(|counter| counter.left > 0) {
            let name = counter.period.name_at(time);
            if counter.name.as_ref() != Some(&name) {
                counter.left -= 1;
                counter.name = Some(name.clone());
                kept_by.push(Rule::Newest { period: counter.period, name });
            }
        }
    }
}
