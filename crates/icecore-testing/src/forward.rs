//! Support for storages that wrap another one and change a part of its behaviour.

/// Writes the methods of `Storage` that only call the storage in a field: `forward_storage!(inner:
/// list, open);`.
#[macro_export]
macro_rules! forward_storage {
    ($inner:ident: $($method:ident),+ $(,)?) => {
        $($crate::forward_storage!(@ $method $inner);)+
    };
    (@ list $inner:ident) => {
        fn list(&self, dir: &str) -> ::std::io::Result<Vec<String>> {
            self.$inner.list(dir)
        }
    };
    (@ list_dirs $inner:ident) => {
        fn list_dirs(&self, dir: &str) -> ::std::io::Result<Vec<String>> {
            self.$inner.list_dirs(dir)
        }
    };
    (@ open $inner:ident) => {
        fn open(&self, name: &str) -> ::std::io::Result<Box<dyn ::icecore::storage::StoredFile>> {
            self.$inner.open(name)
        }
    };
    (@ create $inner:ident) => {
        fn create(&self, name: &str) -> ::std::io::Result<Box<dyn ::icecore::storage::NewFile>> {
            self.$inner.create(name)
        }
    };
    (@ open_random $inner:ident) => {
        fn open_random(&self, name: &str) -> ::std::io::Result<Box<dyn ::icecore::storage::RandomFile>> {
            self.$inner.open_random(name)
        }
    };
    (@ make_dir $inner:ident) => {
        fn make_dir(&self, dir: &str) -> ::std::io::Result<()> {
            self.$inner.make_dir(dir)
        }
    };
    (@ rename $inner:ident) => {
        fn rename(&self, from: &str, to: &str) -> ::std::io::Result<()> {
            self.$inner.rename(from, to)
        }
    };
    (@ rename_new $inner:ident) => {
        fn rename_new(&self, from: &str, to: &str) -> ::std::io::Result<()> {
            self.$inner.rename_new(from, to)
        }
    };
    (@ sync_dir $inner:ident) => {
        fn sync_dir(&self, dir: &str) -> ::std::io::Result<()> {
            self.$inner.sync_dir(dir)
        }
    };
    (@ remove $inner:ident) => {
        fn remove(&self, name: &str) -> ::std::io::Result<()> {
            self.$inner.remove(name)
        }
    };
    (@ remove_dir $inner:ident) => {
        fn remove_dir(&self, dir: &str) -> ::std::io::Result<()> {
            self.$inner.remove_dir(dir)
        }
    };
    (@ lock $inner:ident) => {
        fn lock(
            &self,
            name: &str,
            mode: ::icecore::storage::LockMode,
            wait: ::icecore::storage::Wait,
        ) -> ::std::io::Result<Option<Box<dyn ::icecore::storage::LockGuard>>> {
            self.$inner.lock(name, mode, wait)
        }
    };
}
