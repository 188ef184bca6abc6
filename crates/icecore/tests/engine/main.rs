//! The tests of the engine that look at it from outside, all in one program.
#![expect(clippy::disallowed_methods, reason = "tests may look at files; the engine may not")]

// `cfg(test)` tells clippy that `unwrap` is fine in there.
#[cfg(test)]
mod at_once;
#[cfg(test)]
mod capture;
#[cfg(test)]
mod catalog;
#[cfg(test)]
mod changed;
#[cfg(test)]
mod clock;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod copy;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod deltas;
#[cfg(test)]
mod diff;
#[cfg(test)]
mod exhaust;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod first;
#[cfg(test)]
mod heal;
#[cfg(test)]
mod joined;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod keep_going;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod lying_index;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod map;
#[cfg(test)]
mod meddled;
#[cfg(test)]
mod mend;
#[cfg(test)]
mod mixed;
mod model;
#[cfg(test)]
mod moved;
#[cfg(test)]
mod newer;
#[cfg(test)]
mod parity;
#[cfg(test)]
mod place;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod reads;
#[cfg(test)]
mod repair;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod sealed;
#[cfg(test)]
mod shortage;
#[cfg(test)]
mod spread;
#[cfg(test)]
mod stats;
#[cfg(test)]
mod strays;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod verify;
#[cfg(test)]
mod view;
#[cfg(test)]
mod view_beside;
#[cfg(test)]
mod view_damage;
#[cfg(test)]
mod volumes;
#[cfg(test)]
mod work;
