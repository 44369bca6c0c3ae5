//! The target: what a run would find there, and whether it may do its work.

use super::source::{impatient, told, validity};
use super::{Checkup, Name};
use crate::checkpoint::{StoreIdentity, Subject};
use crate::config::RunSettings;
use crate::engine::{Between, Concern, Examine, Written, open_to_examine};
use crate::error::Result;
use crate::openfga::{OpenFga, OpenFgaSettings, Refusal, Way};
use crate::report::told_of_lock;
use crate::schema::{SchemaStatus, VERSION};
use crate::source::ChangeSource;
use crate::status::Lock;
use crate::store::Store;
use crate::sync::{RunOptions, Stop, admit_run, refuse_same};
use crate::target::{Target, TargetError};

/// Checks the target. `store` is the source's, where it is known.
pub(super) fn check(
    checkup: &mut Checkup,
    settings: &RunSettings,
    store: Option<StoreIdentity>,
    stop: &Stop,
) -> Option<()> {
    let (target, options) = (&settings.target, &settings.options);
    let opened = open_to_examine(&target.database).map_err(TargetError::into_error);
    let mut database = checkup.expect(Name::Target, opened)?;
    let product = database.product().map_err(TargetError::into_error);
    let product = checkup.expect(Name::Target, product)?;
    checkup.pass(Name::Target, product);
    check_settings(checkup, database.as_mut());
    check_between(checkup, database.as_mut());
    let copies = target.store.as_deref();
    let target_store = if let Some(to) = copies {
        check_target_store(checkup, &to.api, options, store.as_ref())
    } else {
        checkup.leave_out(&[Name::TargetStore], "the target is a database");
        Some(None)
    };
    let tables = check_tables(checkup, database.as_mut(), options.migrate)?;
    let writes = Written::by(options.mode, copies.is_some());
    let rights = database.try_rights(&tables, writes);
    if let Some(tried) = checkup.expect(Name::Rights, rights.map_err(TargetError::into_error)) {
        checkup.pass(Name::Rights, tried);
    }
    if tables != SchemaStatus::Current {
        let why = "the tables are not there as needed yet, and a run begins with them";
        checkup.leave_out(&[Name::Lock, Name::Position], why);
        return None;
    }
    check_lock(checkup, database.as_mut(), &options.name);
    let (Some(store), Some(target_store)) = (store, target_store) else {
        if settings.source.meter().is_none() {
            checkup.leave_out(&[Name::Position], "the recording was not read");
        }
        return None;
    };
    let subject = options.subject(store, target_store);
    let mut whole: Box<dyn Target> = database;
    if let Some(to) = copies {
        whole = Box::new(checkup.expect(Name::Position, Store::open(whole, to, stop))?);
    }
    check_position(checkup, whole.as_mut(), &subject)
}

fn check_settings(checkup: &mut Checkup, database: &mut dyn Examine) -> Option<()> {
    let concerns = database.concerns().map_err(TargetError::into_error);
    let concerns = checkup.expect(Name::EngineSettings, concerns)?;
    if concerns.is_empty() {
        checkup.pass(Name::EngineSettings, "none that breaks a promise");
    } else {
        let seen: Vec<_> = concerns
            .iter()
            .map(|concern| concern.seen.as_str())
            .collect();
        let advice: Vec<_> = concerns.iter().map(|concern| concern.advice).collect();
        checkup.warn(Name::EngineSettings, seen.join("; "), advice.join("; "));
    }
    Some(())
}

fn check_between(checkup: &mut Checkup, database: &mut dyn Examine) -> Option<()> {
    let between = database.between().map_err(TargetError::into_error);
    match checkup.expect(Name::Pooler, between)? {
        None => checkup.leave_out(&[Name::Pooler], "the target is a file"),
        Some(Between::Nothing) => checkup.pass(Name::Pooler, "none shows itself"),
        Some(Between::Something(what)) => checkup.pass(Name::Pooler, what),
        Some(Between::Concerning(Concern { seen, advice })) => {
            checkup.warn(Name::Pooler, seen, advice);
        }
    }
    Some(())
}

/// The store that is copied to; it can't be tried whether it may be written without writing.
#[expect(
    clippy::option_option,
    reason = "whether it was found, and which it is"
)]
fn check_target_store(
    checkup: &mut Checkup,
    api: &OpenFgaSettings,
    options: &RunOptions,
    source: Option<&StoreIdentity>,
) -> Option<Option<StoreIdentity>> {
    let ask = || -> Result<StoreIdentity> {
        let mut target = OpenFga::new(impatient(api))?;
        let store = target.ask_first().store.map_err(|refusal| match refusal {
            Refusal::SignIn(error) | Refusal::Other(error) => error,
        })?;
        if let Some(source) = source {
            refuse_same(source, &store)?;
        }
        target.must_have_changes()?;
        if options.copy_model {
            target.newest_model()?;
        }
        Ok(store)
    };
    let store = checkup.expect(Name::TargetStore, ask())?;
    let certificate = Way::of(api).go();
    let certificate = checkup.expect(Name::TargetStore, certificate)?;
    let told = told(&store);
    let mut seen = format!("{told}, which can be read; whether it may be written is not tried");
    let (tls, advice) = certificate.as_ref().map(validity).unwrap_or_default();
    if certificate.is_some() {
        seen = format!("{seen}; its certificate is {tls}");
    }
    match advice {
        None => checkup.pass(Name::TargetStore, seen),
        Some(advice) => checkup.warn(Name::TargetStore, seen, advice),
    }
    Some(Some(store))
}

fn check_tables(
    checkup: &mut Checkup,
    database: &mut dyn Examine,
    migrates: bool,
) -> Option<SchemaStatus> {
    let tables = database.schema().map_err(TargetError::into_error);
    let tables = checkup.expect(Name::Tables, tables)?;
    match &tables {
        SchemaStatus::Missing if migrates => {
            checkup.pass(Name::Tables, "none yet: the first run makes them");
        }
        SchemaStatus::Older(version) if migrates => {
            let seen = format!("of version {version}: the next run upgrades them");
            checkup.pass(Name::Tables, seen);
        }
        tables => {
            checkup.expect(Name::Tables, tables.require_current())?;
            checkup.pass(Name::Tables, format!("of version {VERSION}, as needed"));
        }
    }
    Some(tables)
}

fn check_lock(checkup: &mut Checkup, database: &mut dyn Examine, name: &str) -> Option<()> {
    let statuses = database.statuses().map_err(TargetError::into_error);
    let statuses = checkup.expect(Name::Lock, statuses)?;
    let of_mirror = statuses.into_iter().find(|status| status.name == name);
    let Some(lock) = of_mirror.map(|status| status.lock) else {
        checkup.pass(Name::Lock, "no run of this mirror is on record");
        return Some(());
    };
    match &lock {
        Lock { is_held: Some(false), .. } => checkup.pass(Name::Lock, "free"),
        Lock { is_held: None, holder: None } => {
            checkup.leave_out(&[Name::Lock], "the database does not tell");
        }
        lock => checkup.warn(
            Name::Lock,
            told_of_lock(lock),
            "wait for it to end; a run meanwhile ends with exit code 10, unless --if-locked says otherwise",
        ),
    }
    Some(())
}

/// What a run asks before it takes its checkpoint.
fn check_position(checkup: &mut Checkup, target: &mut dyn Target, subject: &Subject) -> Option<()> {
    let looked = target.look(subject).map_err(TargetError::into_error);
    let (found, _) = checkup.expect(Name::Position, looked)?;
    checkup.expect(Name::Position, admit_run(&found, subject))?;
    let kept = found.kept.filter(|kept| kept.token.is_some());
    checkup.pass(
        Name::Position,
        match kept.and_then(|kept| kept.position_time) {
            Some(time) => format!("of the same store, at a change of {time:.0}"),
            None => "none yet: the next run begins where it is told to".to_owned(),
        },
    );
    Some(())
}
