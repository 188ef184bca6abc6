//! Faults: what goes wrong, for which requests, and the schedule that decides it.

use serde::Deserialize;
use serde::Serialize;

/// One thing that goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// An error in place of the answer.
    Error {
        /// The code in the body, such as `SlowDown`.
        code: String,
        /// The HTTP status.
        status: u16,
        /// Whether the request was carried out all the same.
        #[serde(default)]
        after: bool,
    },
    /// The connection is reset.
    Reset {
        /// Whether the request was carried out first.
        #[serde(default)]
        after: bool,
    },
    /// There is no answer, until the client gives up.
    Hang {
        /// Whether the request was carried out first.
        #[serde(default)]
        after: bool,
    },
    /// The body of the answer ends too early, and so does the connection.
    Truncate {
        /// How many bytes of the body are sent.
        bytes: u64,
    },
    /// The answer says that its body has another length. With less, the body is cut to that length,
    /// so that only who knows the length can tell; with more, the connection ends too early.
    Length {
        /// What is added to the length.
        add: i64,
    },
    /// The answer comes late.
    Slow {
        /// By how much.
        millis: u64,
    },
    /// A list does not show the newest changes of the bucket: objects just put are missing, objects
    /// just deleted are there.
    StaleList {
        /// How many changes, at most 1024.
        changes: usize,
    },
}

impl Fault {
    /// 500 `InternalError`, and nothing was done.
    #[must_use]
    pub fn internal_error() -> Self {
        Self::error("InternalError", 500)
    }

    /// 503 `SlowDown`, and nothing was done.
    #[must_use]
    pub fn slow_down() -> Self {
        Self::error("SlowDown", 503)
    }

    /// 409 `ConditionalRequestConflict`, and nothing was done.
    #[must_use]
    pub fn conflict() -> Self {
        Self::error("ConditionalRequestConflict", 409)
    }

    /// An error of any kind, and nothing was done.
    #[must_use]
    pub fn error(code: &str, status: u16) -> Self {
        Self::Error { code: code.to_owned(), status, after: false }
    }

    /// The same fault after the request was carried out. Faults of answers are so anyway.
    #[must_use]
    pub fn after(mut self) -> Self {
        if let Self::Error { after, .. } | Self::Reset { after } | Self::Hang { after } = &mut self {
            *after = true;
        }
        self
    }
}

/// A fault, and the requests that it happens to. Without limits: all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// Operations, such as `PutObject`. Empty is all.
    #[serde(default)]
    pub operations: Vec<String>,
    /// What the key contains; for lists, the prefix.
    #[serde(default)]
    pub key: String,
    /// How many of these requests pass before it begins.
    #[serde(default)]
    pub skip: u64,
    /// How often it happens. None is without end.
    #[serde(default)]
    pub times: Option<u64>,
    /// The share of these requests it happens to, from 0 to 1: decided by the seed and the number of
    /// the request since the faults were set.
    #[serde(default = "always")]
    pub rate: f64,
}

fn always() -> f64 {
    1.0
}

impl Rule {
    /// Returns a rule for all requests.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self { fault, operations: Vec::new(), key: String::new(), skip: 0, times: None, rate: 1.0 }
    }

    /// Limits it to an operation, or to one more.
    #[must_use]
    pub fn on(mut self, operation: &str) -> Self {
        self.operations.push(operation.to_owned());
        self
    }

    /// Limits it to keys that contain a text.
    #[must_use]
    pub fn key(mut self, part: &str) -> Self {
        part.clone_into(&mut self.key);
        self
    }

    /// Lets the first of these requests pass.
    #[must_use]
    pub fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Ends it after so many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Limits it to a share of these requests, from 0 to 1.
    #[must_use]
    pub fn rate(mut self, rate: f64) -> Self {
        self.rate = rate;
        self
    }

    fn matches(&self, operation: &str, key: &str) -> bool {
        (self.operations.is_empty() || self.operations.iter().any(|name| name == operation))
            && key.contains(&self.key)
    }
}

/// The faults of a server: the first rule that applies to a request decides.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// What the rates are decided by.
    #[serde(default)]
    pub seed: u64,
    /// The rules, the most important first.
    pub rules: Vec<Rule>,
}

impl Faults {
    /// Returns faults without rates, or with rates by the seed 0.
    #[must_use]
    pub fn script(rules: Vec<Rule>) -> Self {
        Self { seed: 0, rules }
    }

    /// Returns faults with rates by a seed.
    #[must_use]
    pub fn seeded(seed: u64, rules: Vec<Rule>) -> Self {
        Self { seed, rules }
    }
}

/// Faults on their way: what each rule has seen and done.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    faults: Faults,
    requests: u64,
    rules: Vec<Progress>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    seen: u64,
    done: u64,
}

impl Schedule {
    pub(crate) fn new(faults: Faults) -> Self {
        let rules = vec![Progress::default(); faults.rules.len()];
        Self { faults, requests: 0, rules }
    }

    /// Decides about the next request.
    pub(crate) fn next(&mut self, operation: &str, key: &str) -> Option<Fault> {
        let number = self.requests;
        self.requests += 1;
        let mut chosen = None;
        for ((index, rule), progress) in (0_u64..).zip(&self.faults.rules).zip(&mut self.rules) {
            if !rule.matches(operation, key) {
                continue;
            }
            progress.seen += 1;
            let over = rule.times.is_some_and(|times| progress.done >= times);
            if chosen.is_some() || over || progress.seen <= rule.skip {
                continue;
            }
            if rule.rate >= 1.0 || fraction(self.faults.seed, number, index) < rule.rate {
                progress.done += 1;
                chosen = Some(rule.fault.clone());
            }
        }
        chosen
    }
}

/// Returns a number from 0 to 1 that depends on all three.
fn fraction(seed: u64, number: u64, rule: u64) -> f64 {
    let mixed = mix(mix(mix(seed) ^ number) ^ rule);
    // 53 bits are what the mantissa holds.
    let share = u32::try_from(mixed >> 32).unwrap_or(u32::MAX);
    f64::from(share) / (f64::from(u32::MAX) + 1.0)
}

/// A step of splitmix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(faults: Faults, requests: u64) -> Vec<u64> {
        let mut schedule = Schedule::new(faults);
        (0..requests).filter(|_| schedule.next("PutObject", "packs/a").is_some()).collect()
    }

    #[test]
    fn a_script_skips_counts_and_ends() {
        let rule = Rule::new(Fault::slow_down()).on("PutObject").key("packs/").skip(2).times(3);
        assert_eq!(hits(Faults::script(vec![rule.clone()]), 10), [2, 3, 4]);
        let mut schedule = Schedule::new(Faults::script(vec![rule]));
        assert!((0..10).all(|_| schedule.next("GetObject", "packs/a").is_none()));
        assert!((0..10).all(|_| schedule.next("PutObject", "journal/a").is_none()));
    }

    #[test]
    fn a_seed_decides_the_same_way_each_time_and_another_differently() {
        let faults = |seed| Faults::seeded(seed, vec![Rule::new(Fault::internal_error()).rate(0.25)]);
        let first = hits(faults(1), 1000);
        assert_eq!(first, hits(faults(1), 1000));
        assert_ne!(first, hits(faults(2), 1000));
        assert!((200..300).contains(&first.len()), "{}", first.len());
    }

    #[test]
    fn faults_are_read_from_json() {
        let text =
            r#"{"seed":7,"rules":[{"fault":{"reset":{"after":true}},"operations":["PutObject"],"times":1}]}"#;
        let faults: Faults = serde_json::from_str(text).unwrap();
        let rule = Rule::new(Fault::Reset { after: false }.after()).on("PutObject").times(1);
        assert_eq!(faults, Faults::seeded(7, vec![rule]));
    }
}
