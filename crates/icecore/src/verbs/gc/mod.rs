//! Gc: frees the space that no snapshot needs. First plan, then apply.

mod choose;
mod copies;
mod grace;
mod join;
mod mark;
mod needs;
mod parity;
mod reads;
mod rewrite;
mod tail;

use std::collections::HashSet;

use crate::format::record::Record;
use crate::repository::Repository;
use crate::repository::refill_reserve;
use crate::stores::journal::files::remove_replaced;
use crate::stores::live_records::all_that_is_kept_by;
use crate::stores::locks;
use crate::stores::locks::Held;
use crate::stores::locks::Writer;
use crate::stores::notes::Damage;
use crate::stores::notes::change;
use crate::stores::pack::file::PackFile;
use crate::stores::pack::list::list_packs;
use crate::stores::volumes;
use crate::verbs::gc::choose::Choice;
pub use crate::verbs::gc::choose::GRACE_MS;
pub use crate::verbs::gc::choose::GcOptions;
pub use crate::verbs::gc::choose::GcTotals;
use crate::verbs::gc::choose::Weighed;
use crate::verbs::gc::choose::choose;
use crate::verbs::gc::choose::weigh;
use crate::verbs::gc::copies::Copies;
use crate::verbs::gc::grace::Grace;
pub(crate) use crate::verbs::gc::join::is_due;
pub(crate) use crate::verbs::gc::join::join_small_packs;
use crate::verbs::gc::mark::Usage;
use crate::verbs::gc::needs::Needs;
use crate::verbs::gc::parity::Parity;
use crate::verbs::gc::reads::remove_reads;
use crate::verbs::gc::rewrite::Rewriter;
use crate::verbs::gc::rewrite::Rewritten;
use crate::verbs::gc::tail::Marked;
use crate::verbs::gc::tail::Tail;
use crate::verbs::gc::tail::Taken;
use crate::verbs::gc::tail::forget_lost_volumes;
use crate::verbs::gc::tail::overtaken;
use crate::verbs::gc::tail::remove_leftovers;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::next_step::NextStep;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::world::sessions::Work;

/// The fraction of a full pack's size below which a pack is small. There may be a few small packs
/// of each kind, not many.
const SMALL_PART: u64 = 8;

/// The plan of a gc. As long as it exists, no other gc can start.
pub struct GcPlan {
    /// The totals, for display.
    pub totals: GcTotals,
    choice: Choice,
    packs: Vec<Weighed>,
    usage: Usage,
    marked: Marked,
    /// What stays for a while, where other machines write too.
    grace: Option<Grace>,
    /// None if the repository is not writable: then the plan can be viewed but not applied.
    lock: Option<Held>,
}

/// Plans which packs a gc would free. Changes nothing.
///
/// # Errors
/// `Corrupt` if anything that a snapshot needs is missing: gc then deletes nothing. `InUse` if
/// another gc runs.
pub fn plan(repo: &Repository, options: &GcOptions, progress: &dyn Progress) -> Result<GcPlan> {
    let shortages = repo.files().place.shortages.count();
    let mut begun = None;
    let planned = plan_with(repo, options, &mut begun, progress);
    // A read that failed for want of descriptors or memory does not make data missing or unused.
    repo.files().place.shortages.check(shortages)?;
    planned.map_err(|error| match begun {
        Some(begun) => or_overtaken(repo, begun, error),
        None => error,
    })
}

/// Returns `InUse` in place of an error that says that something is missing, if another machine's gc
/// has condemned packs since the entry `begun`: then it may have removed it.
fn or_overtaken(repo: &Repository, begun: u64, error: Error) -> Error {
    let is_missing = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt);
    let is_overtaken = || repo.catalog().is_ok_and(|catalog| catalog.condemned_since(begun));
    match is_missing && repo.files().are_shared() && is_overtaken() {
        true => overtaken(),
        false => error,
    }
}

/// `begun` becomes the number of the last entry that the plan takes into account.
fn plan_with(
    repo: &Repository,
    options: &GcOptions,
    begun: &mut Option<u64>,
    progress: &dyn Progress,
) -> Result<GcPlan> {
    if !(0.0..=1.0).contains(&options.max_unused) {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("{} is not a number from 0 to 1", options.max_unused),
        ));
    }
    let files = repo.files();
    let lock = match locks::only_gc(files) {
        Ok(lock) => Some(lock),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
        Err(error) => return Err(error),
    };
    // The order matters. A pack that is listed here and no longer announced afterwards was
    // published by a writer that has ended. Whatever that writer committed is among the records,
    // which are read last.
    let grace = Grace::begin(files, options.grace_ms)?;
    let mut listed = grace.as_ref().map_or_else(|| list_packs(files), |grace| Ok(grace.packs()))?;
    let mut spared: HashSet<PackId> = locks::announced_packs(files)?.into_iter().collect();
    let catalog = repo.catalog()?;
    *begun = Some(catalog.number);
    let records = all_that_is_kept_by(&repo.store, &catalog).map_err(refuse)?;
    if let Some(grace) = &grace {
        spared.extend(grace.young_packs());
        listed.retain(|id| !catalog.condemned().contains_key(id));
    }
    repo.store.reload()?;
    let mut usage = Usage::default();
    for id in listed.iter().filter(|id| !spared.contains(id)) {
        match PackFile::open(files, *id) {
            Ok(pack) => usage.watch(&pack),
            // A damaged pack stays in place for `repair`.
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            // Another machine's gc has removed it since it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound && files.are_shared() => {}
            Err(error) => return Err(error),
        }
    }
    let damage = Damage::load(files);
    let mut copies = Copies::new(&repo.store, &damage);
    for record in &records {
        usage.mark(&mut copies, record, progress).map_err(refuse)?;
    }
    let mut kept: HashSet<[u8; 16]> = records.iter().map(|record| record.id.into()).collect();
    let newest = files.seals.epoch().filter(|_| options.reseal);
    let mut packs = Vec::with_capacity(usage.packs.len());
    for id in &listed {
        let Some(used) = usage.packs.get_mut(id) else { continue };
        let pack = match PackFile::open(files, *id) {
            Err(error) if error.kind() == ErrorKind::NotFound && files.are_shared() => continue,
            pack => pack?,
        };
        used.mark_records(&pack, &mut kept)?;
        packs.push(weigh(&pack, used, newest)?);
    }
    let mut totals = GcTotals::default();
    let small_bytes = files.pack_bytes / SMALL_PART;
    let choice = choose(&packs, &damage.packs(), options.max_unused, small_bytes, &mut totals);
    Ok(GcPlan {
        totals,
        choice,
        packs,
        usage,
        marked: Marked { manifests: records.iter().map(Record::manifest_key).collect(), at: catalog.number },
        grace,
        lock,
    })
}

fn refuse(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Corrupt => error
            .in_context("gc deletes nothing while data that a snapshot needs is damaged or missing")
            .with_hint(NextStep::RepairOrDelete),
        _ => error,
    }
}

/// Carries out `plan`, as far as it still holds. On a full disk it only removes whole packs and
/// rewrites nothing.
///
/// # Errors
/// `Interrupted` if `progress` says so: no rewritten data is lost, and nothing has been removed.
pub fn apply(repo: &Repository, plan: GcPlan, progress: &dyn Progress) -> Result<GcTotals> {
    let begun = plan.marked.at;
    apply_all(repo, plan, progress).map_err(|error| or_overtaken(repo, begun, error))
}

fn apply_all(repo: &Repository, plan: GcPlan, progress: &dyn Progress) -> Result<GcTotals> {
    repo.check_writable()?;
    let files = repo.files();
    if plan.lock.is_none() {
        // If the reason why the plan has no lock still holds, taking the lock reports it. Otherwise
        // the plan dates from a time without the lock.
        let _lock = locks::only_gc(files)?;
        return Err(Error::new(ErrorKind::PermissionDenied, "the repository was read-only when gc began")
            .with_hint("run gc again"));
    }
    let mut done = GcTotals {
        packs: plan.totals.packs,
        pack_bytes: plan.totals.pack_bytes,
        used_bytes: plan.totals.used_bytes,
        ..GcTotals::default()
    };
    let condemned = repo.catalog()?.condemned().keys().copied().collect();
    let parity = Parity::begin(files, repo.parity()?, condemned)?;
    let (Taken { condemned, gone, gone_before_bytes, retained }, new_bytes) =
        match rewrite_and_take_out(repo, &plan, &parity, progress) {
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                let unused = plan.choice.remove.iter().copied();
                let needs = Needs::new(&repo.store, &plan.usage, unused, HashSet::new());
                (Tail::new(repo, &plan.marked, needs).take_out_on_full_disk()?, 0)
            }
            result => result?,
        };
    parity.finish(&condemned)?;
    if files.are_shared() {
        remove_replaced(files);
    }
    let is_retained = |id: &PackId| retained.iter().any(|(pack, _)| pack == id);
    done.packs_condemned =
        condemned.iter().filter(|id| !gone.contains(id) && !is_retained(id)).count() as u64;
    done.packs_retained = retained.len() as u64;
    done.retained_bytes = retained.iter().map(|(_, bytes)| bytes).sum();
    done.freed_bytes = gone_before_bytes;
    // Notes about packs that are gone mean nothing. If they cannot be rewritten now, a verify does
    // it.
    let _ = change(files, |damage, checked| {
        damage.retain(|pack, _| !gone.contains(&pack));
        checked.retain(|pack, _| !gone.contains(pack));
    });
    forget_lost_volumes(repo)?;
    done.leftovers_removed = remove_leftovers(files)?
        + volumes::remove_leftovers(files)?
        + remove_reads(repo, plan.grace.as_ref())?;
    let bytes_of = |id: &PackId| plan.packs.iter().find(|pack| pack.id == *id);
    for pack in gone.iter().filter_map(bytes_of) {
        done.freed_bytes += pack.bytes;
        if pack.used_bytes == 0 {
            done.packs_removed += 1;
        } else {
            done.packs_rewritten += 1;
            done.chunks_punched += pack.partly_used;
        }
    }
    done.freed_bytes = done.freed_bytes.saturating_sub(new_bytes);
    let stayed = plan.packs.iter().filter(|pack| !condemned.contains(&pack.id));
    done.unused_bytes_kept = stayed.map(|pack| pack.unused_bytes).sum();
    refill_reserve(files);
    Ok(done)
}

/// Returns what was removed, and the bytes of the packs written.
fn rewrite_and_take_out(
    repo: &Repository,
    plan: &GcPlan,
    parity: &Parity<'_>,
    progress: &dyn Progress,
) -> Result<(Taken, u64)> {
    let files = repo.files();
    let writer = Writer::begin(files)?;
    // No capture merges index runs meanwhile.
    let _index = locks::only(files, Work::Index)?;
    let rewritten = |pack: &&Weighed| plan.choice.rewrite.contains(&pack.id);
    progress.total(Meter::Rewritten, plan.packs.iter().filter(rewritten).map(|pack| pack.used_bytes).sum());
    let mut rewriter = Rewriter::new(&repo.store, &writer, repo.config.level);
    for pack in plan.packs.iter().filter(rewritten) {
        if let Some(used) = plan.usage.packs.get(&pack.id) {
            rewriter.copy(pack.id, used, progress).map_err(refuse)?;
        }
    }
    let Rewritten { replaced, published, new_bytes } = rewriter.finish()?;
    let going = [plan.choice.remove.clone(), replaced].concat();
    if !going.is_empty() {
        parity.cover_without(&going, progress)?;
    }
    let needs = Needs::new(&repo.store, &plan.usage, going, published.into_iter().collect());
    Ok((Tail::new(repo, &plan.marked, needs).take_out(plan.grace.as_ref())?, new_bytes))
}
