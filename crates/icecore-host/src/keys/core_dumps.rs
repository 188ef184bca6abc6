//! No core dumps: they would write the keys in memory to the disk.

use rustix::process::DumpableBehavior;
use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::set_dumpable_behavior;
use rustix::process::setrlimit;

/// Lets this process, and those that it starts, leave no core dumps. A dump that goes to a program,
/// as to systemd-coredump, heeds no limit: so this process also counts as one that is not dumped.
/// Debuggers of the same user are shut out, too.
///
/// # Errors
/// If the system refuses.
pub fn forbid() -> std::io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_dumped_any_more() {
        forbid().unwrap();
        assert_eq!(rustix::process::getrlimit(Resource::Core).current, Some(0));
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        forbid().unwrap();
    }
}
