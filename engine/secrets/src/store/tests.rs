//! A store as its users see it: what comes back, what is refused, what crashes and rivals leave.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::sealed::KEPT;

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn store(&self) -> SecretStore {
        SecretStore::new(&self.dir.path().join("config/secrets"), None)
    }

    /// A store with `token` and `key` in `staging` and `token` in `production`.
    fn filled(&self) -> SecretStore {
        let store = self.store();
        set(&store, "staging", "token", "staging one").unwrap();
        set(&store, "staging", "token", "staging two").unwrap();
        set(&store, "staging", "key", "staging key").unwrap();
        set(&store, "production", "token", "production one").unwrap();
        store
    }
}

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

fn value(text: &str) -> Value {
    Value::new(text.into()).unwrap()
}

fn set(store: &SecretStore, environment: &str, secret: &str, text: &str) -> Result<Added, Error> {
    store.set(&name(environment), &name(secret), value(text), false, 1_000)
}

fn read(store: &SecretStore, environment: &str, secret: &str) -> Result<(u32, String), Error> {
    let found = store.read(environment, secret)?;
    Ok((found.version, String::from_utf8(found.value.into_bytes()).unwrap()))
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_is_set_is_read() {
    let place = Place::new();
    let store = place.filled();
    assert_eq!(read(&store, "staging", "token").unwrap(), (2, "staging two".into()));
    assert_eq!(read(&store, "production", "token").unwrap(), (1, "production one".into()));
    let listed = store.list(None).unwrap();
    let shown: Vec<_> = listed
        .iter()
        .map(|l| (l.environment.as_str(), l.name.as_str(), l.versions.iter().map(|v| v.number).collect::<Vec<_>>()))
        .collect();
    assert_eq!(
        shown,
        [("production", "token", vec![1]), ("staging", "key", vec![1]), ("staging", "token", vec![1, 2])]
    );
    assert_eq!(listed[0].versions[0].created_ms, 1_000);
    assert_eq!(store.list(Some("staging")).unwrap().len(), 2);
    assert_eq!(store.list(Some("nowhere")).unwrap(), []);
}

#[test]
fn the_first_secret_makes_an_identity_and_everything_is_private() {
    let place = Place::new();
    let store = place.store();
    let made = set(&store, "default", "token", "12345678").unwrap().made.unwrap();
    assert!(made.public.starts_with("age1"));
    assert_eq!(store.keyring().unwrap(), Keyring { public: made.public, keys: 1 });
    assert_eq!(set(&store, "default", "token", "12345678").unwrap().made, None);
    assert!(store.identity().ends_with("config/secrets.identity"));
    let bits = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((bits(store.dir()), bits(store.identity())), (0o700, 0o600));
    for entry in fs::read_dir(store.dir()).unwrap() {
        assert_eq!(bits(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn no_file_shows_a_name_or_a_value() {
    let place = Place::new();
    let store = place.filled();
    for path in ["staging.age", "production.age", "lock"].map(|file| store.dir().join(file)) {
        let bytes = fs::read(&path).unwrap();
        for text in ["token", "key\"", "staging two", "production one", "c3RhZ2luZyB0d2"] {
            assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{text} in {}", path.display());
        }
    }
}

#[test]
fn versions_are_kept_up_to_a_number_and_the_newest_can_be_taken_back() {
    let place = Place::new();
    let store = place.store();
    for n in 1..=KEPT {
        assert!(set(&store, "e", "s", &format!("value {n:03}")).unwrap().dropped.is_empty());
    }
    let added = set(&store, "e", "s", "bad value").unwrap();
    assert_eq!((added.version as usize, added.dropped), (KEPT + 1, vec![1]));
    let removed = store.remove("e", "s", Some(KEPT as u32 + 1)).unwrap();
    assert_eq!(removed, Removed { gone: vec![KEPT as u32 + 1], current: Some(KEPT as u32) });
    assert_eq!(read(&store, "e", "s").unwrap(), (KEPT as u32, format!("value {KEPT:03}")));
    assert!(
        matches!(store.remove("e", "s", Some(1)), Err(Error::UnknownVersion { known, .. }) if known.len() == KEPT - 1)
    );
    let removed = store.remove("e", "s", None).unwrap();
    assert_eq!((removed.gone.len(), removed.current), (KEPT - 1, None));
    assert!(matches!(store.read("e", "s"), Err(Error::Unknown { known, .. }) if known.is_empty()));
    assert_eq!(store.list(None).unwrap(), []);
    assert_eq!(set(&store, "e", "s", "new value").unwrap().version as usize, KEPT + 2);
}

#[test]
fn what_is_not_there_is_named() {
    let place = Place::new();
    let store = place.store();
    for error in [
        store.read("e", "s").unwrap_err(),
        store.list(None).unwrap_err(),
        store.remove("e", "s", None).unwrap_err(),
        store.rotate_identity(0).unwrap_err(),
        store.set(&name("e"), &name("s"), value("12345678"), true, 0).unwrap_err(),
    ] {
        assert!(matches!(error, Error::NoStore(_)), "{error}");
    }
    let store = place.filled();
    for (environment, secret) in [("staging", "tokn"), ("nowhere", "token"), ("../secrets/staging", "token"), ("", "")]
    {
        assert!(matches!(store.read(environment, secret), Err(Error::Unknown { .. })), "{environment} {secret}");
    }
    assert!(matches!(store.read("staging", "x"), Err(Error::Unknown { known, .. }) if known == ["key", "token"]));
    assert!(matches!(store.remove("nowhere", "x", None), Err(Error::Unknown { .. })));
    let known = store.set(&name("staging"), &name("x"), value("12345678"), true, 0);
    assert!(matches!(known, Err(Error::Unknown { .. })));
    assert_eq!(store.set(&name("staging"), &name("key"), value("12345678"), true, 0).unwrap().version, 2);
}

#[test]
fn another_identity_or_none_opens_nothing_and_changes_nothing() {
    let place = Place::new();
    let store = place.filled();
    let before = fs::read(store.dir().join("staging.age")).unwrap();
    let other = place.dir.path().join("other");
    Identities::generate().save(&other, 0).unwrap();
    let wrong = SecretStore::new(store.dir(), Some(&other));
    let none = SecretStore::new(store.dir(), Some(&place.dir.path().join("none")));
    for (environment, secret) in [("staging", "token"), ("new", "token")] {
        assert!(matches!(set(&wrong, environment, secret, "12345678"), Err(Error::OtherIdentity { .. })));
        assert!(matches!(set(&none, environment, secret, "12345678"), Err(Error::NoIdentity(_))));
    }
    assert!(matches!(wrong.read("staging", "token"), Err(Error::OtherIdentity { .. })));
    assert!(matches!(wrong.list(None), Err(Error::OtherIdentity { .. })));
    assert!(matches!(wrong.rotate_identity(0), Err(Error::OtherIdentity { .. })));
    assert!(matches!(none.read("staging", "token"), Err(Error::NoIdentity(_))));
    assert!(!none.identity().exists() && !store.dir().join("new.age").exists());
    assert_eq!(fs::read(store.dir().join("staging.age")).unwrap(), before);
}

#[test]
fn what_others_may_read_or_write_is_refused() {
    let place = Place::new();
    let store = place.filled();
    mode(store.identity(), 0o644);
    assert!(matches!(store.read("staging", "token"), Err(Error::Exposed { mode: 0o644, .. })));
    mode(store.identity(), 0o600);
    mode(store.dir(), 0o770);
    assert!(matches!(store.read("staging", "token"), Err(Error::Writable { mode: 0o770, .. })));
    mode(store.dir(), 0o755);
    let file = store.dir().join("staging.age");
    mode(&file, 0o666);
    assert!(matches!(store.read("staging", "token"), Err(Error::Writable { path, .. }) if path == file));
    mode(&file, 0o644);
    assert!(store.read("staging", "token").is_ok());
}

#[test]
fn torn_and_exchanged_files_are_named() {
    let place = Place::new();
    let store = place.filled();
    let (staging, production) = (store.dir().join("staging.age"), store.dir().join("production.age"));
    let whole = fs::read(&staging).unwrap();
    for len in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&staging, &whole[..len]).unwrap();
        for error in [
            store.read("staging", "token").unwrap_err(),
            store.list(None).unwrap_err(),
            set(&store, "staging", "token", "12345678").unwrap_err(),
            store.rotate_identity(0).unwrap_err(),
        ] {
            assert!(matches!(&error, Error::Damaged { file, .. } if *file == staging), "{len}: {error}");
        }
        assert!(store.read("production", "token").is_ok());
    }
    fs::copy(&production, &staging).unwrap();
    let error = store.read("staging", "token").unwrap_err().to_string();
    assert!(error.ends_with("it is that of the environment `production`"), "{error}");
    fs::remove_file(&staging).unwrap();
    fs::create_dir(&staging).unwrap();
    assert!(matches!(store.read("staging", "token"), Err(Error::Io { path, .. }) if path == staging));
}

#[test]
fn a_new_identity_opens_all_and_the_old_one_nothing() {
    let place = Place::new();
    let store = place.filled();
    let old = place.dir.path().join("old");
    fs::copy(store.identity(), &old).unwrap();
    let made = store.rotate_identity(2_000).unwrap();
    assert_eq!(made.environments, 2);
    assert_eq!(store.keyring().unwrap(), Keyring { public: made.public, keys: 1 });
    assert_eq!(store.list(None).unwrap().len(), 3);
    assert_eq!(read(&store, "staging", "token").unwrap().0, 2);
    let with_old = SecretStore::new(store.dir(), Some(&old));
    assert!(matches!(with_old.read("production", "token"), Err(Error::OtherIdentity { .. })));
}

#[test]
fn a_change_of_identity_that_is_cut_off_loses_nothing() {
    let place = Place::new();
    let store = place.filled();
    // What a process leaves that is killed behind the first of two files.
    let staging = store.dir().join("staging.age");
    let kept = fs::read(&staging).unwrap();
    let old = store.identities().unwrap();
    let new = Identities::generate();
    old.behind(&new).save(store.identity(), 0).unwrap();
    let production = store.open("production", &old).unwrap();
    store.write(&production, &new).unwrap();
    assert_eq!(fs::read(&staging).unwrap(), kept);
    assert_eq!(store.keyring().unwrap(), Keyring { public: new.public(), keys: 2 });
    assert_eq!(store.list(None).unwrap().len(), 3);
    assert_eq!(set(&store, "staging", "token", "staging three").unwrap().version, 3);
    let newest = SecretStore::new(store.dir(), Some(&place.dir.path().join("new")));
    new.save(newest.identity(), 0).unwrap();
    assert_eq!(read(&newest, "staging", "token").unwrap().0, 3);
    store.rotate_identity(0).unwrap();
    assert_eq!((store.keyring().unwrap().keys, store.list(None).unwrap().len()), (1, 3));
}

#[test]
fn leftovers_of_killed_writers_go_with_the_next_one() {
    let place = Place::new();
    let store = place.filled();
    let leftover = store.dir().join(".unfinished-x");
    fs::write(&leftover, "half").unwrap();
    store.list(None).unwrap();
    assert!(leftover.exists());
    set(&store, "staging", "token", "12345678").unwrap();
    assert!(!leftover.exists());
}

#[test]
fn an_environment_that_is_full_stays_as_it_is() {
    let place = Place::new();
    let store = place.filled();
    let mut content = store.open("staging", &store.identities().unwrap()).unwrap();
    let large = Value::new(vec![0; crate::sealed::MAX_VALUE]).unwrap();
    for n in 0..191 {
        content.secrets.entry(format!("s{n}")).or_default().add(large.clone(), 0).unwrap();
    }
    store.write(&content, &store.identities().unwrap()).unwrap();
    let more = store.set(&name("staging"), &name("more"), large, false, 0);
    assert!(matches!(more, Err(Error::Full(_))), "{more:?}");
    assert_eq!(read(&store, "staging", "token").unwrap().0, 2);
}

#[test]
fn threads_at_once_lose_nothing() {
    let place = Place::new();
    let store = place.store();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for _ in 0..5 {
                    set(store, "e", &format!("s{thread}"), "12345678").unwrap();
                    set(store, "e", "all", "12345678").unwrap();
                }
            });
        }
    });
    let listed = store.list(None).unwrap();
    let newest = |name: &str| listed.iter().find(|l| l.name == name).unwrap().versions.last().unwrap().number;
    assert_eq!(newest("all"), 40);
    assert!((0..8).all(|thread| newest(&format!("s{thread}")) == 5));
}
