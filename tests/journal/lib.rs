//! The protocol of the journal as a model, and a search through everything that can happen to it.
//!
//! # What it is about
//!
//! Several machines use one repository in an object store. They cannot lock anything, and the store
//! never overwrites: besides reading, listing and deleting it only has *put new*, which fails when
//! the name is taken. What was put, everybody sees at once.
//!
//! * A **pack** is an object with data. A writer uploads packs, and then makes a snapshot that
//!   refers to them, and to packs that were there before, which it knows from the **index**.
//! * The **journal** says which snapshots there are. Its entries have the numbers 1, 2, 3 and so
//!   on. An entry says that a snapshot was made, or that packs are **condemned**: gc will delete
//!   them.
//! * To **commit**, a process reads the journal to its end, checks that what it wants to do is
//!   still right, and puts an entry with the next number. If another process has taken the number,
//!   it reads that entry, checks again, and tries the number after it.
//! * A **checkpoint** is what all entries up to a number say, in one object. Reading begins with
//!   the newest, and continues with the entries after it. Entries that are no longer needed are
//!   removed, so the journal stays short.
//! * **Gc** reads the journal, lists the packs, condemns those that no snapshot needs, and deletes
//!   them.
//!
//! # What goes wrong
//!
//! * Any process can stall between two steps, for any time, and continue as if nothing had
//!   happened.
//! * Any process can die. For the others that is a process that stalls for ever, so it needs no
//!   step of its own: wherever a process can die, the search also goes on without it.
//! * A put may get no answer. It has happened, or happens at any later time, or never.
//!
//! The worst of it comes from removed entries. Their numbers are free again: a process that stalled
//! for long enough puts an entry with such a number, and the store accepts it. That entry **does
//! not exist**, as nobody reads entries that a checkpoint covers. But its writer believes in it,
//! and so does everyone who loaded an earlier checkpoint and reads on from there.
//!
//! # The rules
//!
//! Each has a name in [`protocol::Rule`]. A test leaves it out and finds what breaks.
//!
//! 1. *Entry before deletion.* Gc deletes a pack only when the entry that condemns it exists.
//!    Otherwise a writer that read the journal earlier commits a snapshot that refers to the pack.
//! 2. *Heed condemned packs.* A writer looks at all entries since it loaded its index. If one of
//!    them condemns a pack that its snapshot refers to, it uploads the data again.
//! 3. *Journal before index.* It reads the journal first and loads the index then. An entry in
//!    between is looked at; in the other order it can be missed.
//! 4. *Look at the newest checkpoint after each put.* An entry whose number it covers does not
//!    exist, unless the checkpoint has it. The process reads the checkpoint, and starts again if
//!    need be.
//! 5. *Check after reading.* Whoever has read entries after a checkpoint, or after what it
//!    remembers, looks once more which checkpoints are there. If entries that it read may have been
//!    removed meanwhile, it begins with the newest checkpoint. Looking before reading is not
//!    enough. Nor does a missing next entry prove that there is nothing new: it may have come and
//!    been removed.
//! 6. *Keep condemned packs.* A checkpoint lists the condemned packs that are still there. If not,
//!    they look as if nobody had condemned them.
//! 7. *Low mark.* A checkpoint forgets condemned packs that are gone, and says up to which entry it
//!    did so: the low mark. A writer that began before it cannot know from the journal what was
//!    condemned in between, so it looks for the packs themselves.
//! 8. *Unique names.* Data that is stored again gets another name, so no gc that is on its way
//!    deletes it.
//! 9. *Read back.* When a put gets no answer, or is refused, the process reads the entry with that
//!    number. If there is none, it puts the same entry again.
//! 10. *Compare tokens.* The entry that it read is its own only if it has its own token.
//! 11. *Keep the tail.* The newest two checkpoints stay, and all entries after the older of them.
//!     Then the newest can be lost. (Rules 1 to 10 do not need this one, and are also searched
//!     without it, with one checkpoint: that removes more entries.)
//!
//! # What is checked
//!
//! In every state: no snapshot in the journal refers to a deleted pack; a snapshot that its
//! writer has reported is in the journal; the older checkpoint and the entries say the same as
//! the newest, so that neither is the only proof of a snapshot; and each process ends if all
//! others stand still, so nobody waits for anybody. In some states: every writer has made its
//! snapshot, old packs are deleted, old entries are removed. The search has no limit but memory.
//! It ends when all states were visited, or at the first that breaks a promise.
//!
//! # What is simpler than in reality
//!
//! * Snapshots refer to one pack, and are not deleted. The pack that is there at the beginning is
//!   what a deleted snapshot leaves behind, and writers know it from the index.
//! * The index names the packs that are there. A real one must lose a pack before the pack is
//!   deleted.
//! * Removing entries is one step, as is deleting packs.
//! * At most one put gets no answer, a gc runs once, a writer uploads at most twice.

#![cfg(test)]

mod promises;
mod protocol;
mod search;
mod state;
mod tests;
