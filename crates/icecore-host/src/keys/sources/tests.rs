use std::collections::HashMap;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::sync::Mutex;

use super::*;

/// The environment and the terminal of a program.
#[derive(Default)]
struct Fixture {
    variables: HashMap<&'static str, OsString>,
    typed: Option<Arc<Mutex<Vec<&'static str>>>>,
}

impl Fixture {
    fn with(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.insert(name, value.into());
        self
    }

    /// Has a terminal on which these lines are typed.
    fn typing(mut self, mut lines: Vec<&'static str>) -> Self {
        lines.reverse();
        self.typed = Some(Arc::new(Mutex::new(lines)));
        self
    }

    fn ask<T>(&self, question: impl FnOnce(&Sources) -> Result<T>) -> Result<T> {
        let variables = self.variables.clone();
        let variable = Arc::new(move |name: &str| variables.get(name).cloned());
        let ask = self.typed.clone().map(|typed| -> Ask {
            Arc::new(move |_| match typed.lock().unwrap().pop() {
                Some(line) => Ok(SecretString::from(line)),
                None => Err(Error::new(ErrorKind::Interrupted, "nothing more is typed")),
            })
        });
        question(&Sources::new(variable, ask))
    }

    fn password(&self) -> Result<String> {
        self.ask(|sources| match sources.unlock()? {
            Credential::Password(password) => Ok(password.expose_secret().to_owned()),
            Credential::Identities(identities) => Ok(format!("{} identities", identities.len())),
        })
    }

    fn new_password(&self) -> Result<String> {
        self.ask(|sources| Ok(sources.new_password()?.expose_secret().to_owned()))
    }
}

#[test]
fn the_first_source_that_is_set_counts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "from a file\n").unwrap();
    std::fs::write(dir.path().join("icecore-password"), "from systemd").unwrap();
    let identity = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/sealing/keys/age");

    let sources = Fixture::default();
    assert_eq!(sources.password().unwrap_err().kind(), ErrorKind::PermissionDenied);
    let sources = sources.typing(vec!["typed"; 3]);
    assert_eq!(sources.password().unwrap(), "typed");
    let sources = sources.with("CREDENTIALS_DIRECTORY", dir.path());
    assert_eq!(sources.password().unwrap(), "from systemd");
    let sources = sources.with("ICECORE_PASSWORD", "from a variable");
    assert_eq!(sources.password().unwrap(), "from a variable");
    let sources = sources.with("ICECORE_PASSWORD_FILE", file);
    assert_eq!(sources.password().unwrap(), "from a file");
    let sources = sources.with("ICECORE_PASSWORD_COMMAND", "printf 'from a %s\n' program");
    assert_eq!(sources.password().unwrap(), "from a program");
    let sources = sources.with("ICECORE_IDENTITY", identity);
    assert_eq!(sources.password().unwrap(), "1 identities");
    assert_eq!(sources.new_password().unwrap(), "from a program", "an identity is no password");
}

#[test]
fn a_directory_of_credentials_without_ours_is_no_source() {
    let dir = tempfile::tempdir().unwrap();
    let sources = Fixture::default().with("CREDENTIALS_DIRECTORY", dir.path()).with("ICECORE_PASSWORD", "");
    assert_eq!(sources.typing(vec!["typed"]).password().unwrap(), "typed");
}

#[test]
fn a_new_password_is_typed_twice() {
    assert_eq!(Fixture::default().typing(vec!["same", "same"]).new_password().unwrap(), "same");
    let error = Fixture::default().typing(vec!["same", "other"]).new_password().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(Fixture::default().typing(vec!["same"]).new_password().is_err());
    let once = Fixture::default().with("ICECORE_PASSWORD", "once");
    assert_eq!(once.new_password().unwrap(), "once");
}

#[test]
fn a_second_password_has_names_of_its_own() {
    let fixture = Fixture::default().with("ICECORE_PASSWORD", "first");
    let fixture = fixture.with("ICECORE_TO_PASSWORD_COMMAND", "echo second");
    let other = |sources: &Sources| sources.clone().named("ICECORE_TO").of("the other".to_owned());
    let second = fixture.ask(|sources| other(sources).new_password()).unwrap();
    assert_eq!(second.expose_secret(), "second");
    let set =
        |name: &'static str| fixture.ask(|sources| Ok(sources.clone().named(name).first_set())).unwrap();
    assert_eq!(set("ICECORE").as_deref(), Some("ICECORE_PASSWORD"));
    assert_eq!(set("ICECORE_TO").as_deref(), Some("ICECORE_TO_PASSWORD_COMMAND"));
    assert_eq!(set("ICECORE_NEW"), None);
    let error = Fixture::default().ask(|sources| other(sources).unlock().map(drop)).unwrap_err();
    let said = format!("{error} {:?}", error.next_step());
    assert!(said.starts_with("the other is sealed") && said.contains("ICECORE_TO_PASSWORD_FILE"), "{said}");
}

#[test]
fn what_was_typed_can_be_needed_twice() {
    let once = |sources: &Sources| {
        let sources = sources.clone().asking_once();
        sources.unlock()?;
        sources.unlock().map(drop)
    };
    Fixture::default().typing(vec!["typed"]).ask(once).unwrap();
}

#[test]
fn one_line_end_is_no_part_of_a_password() {
    for (text, password) in [("x\n", "x"), ("x\r\n", "x"), (" x \n\n", " x \n"), ("x", "x")] {
        assert_eq!(without_line_end(text), password, "{text:?}");
    }
}

#[test]
fn what_is_wrong_with_a_source_is_said_without_a_password() {
    let long = "secret ".repeat(1000);
    let bad = [
        ("ICECORE_PASSWORD", OsString::from_vec(b"secret \xff".to_vec())),
        ("ICECORE_PASSWORD_FILE", "/nonexistent/file".into()),
        ("ICECORE_PASSWORD_FILE", "/dev/null".into()),
        ("ICECORE_PASSWORD_FILE", "/dev/zero".into()),
        ("ICECORE_PASSWORD_COMMAND", "sh -c 'echo secret; exit 3'".into()),
        ("ICECORE_PASSWORD_COMMAND", format!("echo '{long}'").into()),
        ("ICECORE_PASSWORD_COMMAND", "/nonexistent/program".into()),
        ("ICECORE_PASSWORD_COMMAND", "true".into()),
        ("ICECORE_PASSWORD_COMMAND", "yes secret".into()),
        ("ICECORE_PASSWORD_COMMAND", "echo 'secret".into()),
        ("ICECORE_IDENTITY", "/nonexistent/file".into()),
        ("ICECORE_IDENTITY", "/dev/null".into()),
    ];
    for (name, value) in bad {
        // Nothing else is tried.
        let sources = Fixture::default().with(name, value.clone()).typing(vec!["typed"]);
        let error = sources.password().unwrap_err();
        let said = format!("{error} {error:?} {:?}", error.next_step());
        assert!(!said.contains("secret"), "{name}={}: {said}", value.display());
    }
}

#[test]
fn a_bad_line_of_an_identity_file_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("identity");
    for text in
        ["# only a comment\n", "AGE-SECRET-KEY-1SECRET\n", "-----BEGIN OPENSSH PRIVATE KEY-----\nSECRET\n"]
    {
        std::fs::write(&file, text).unwrap();
        let error = Fixture::default().with("ICECORE_IDENTITY", &file).password().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
    }
    let ecdsa = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/sealing/keys/ecdsa");
    let error = Fixture::default().with("ICECORE_IDENTITY", ecdsa).password().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}
