//! The source: from its name to the pages that a run would read.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};

use super::{Checkup, Name};
use crate::checkpoint::StoreIdentity;
use crate::error::Result;
use crate::one_line::shortened;
use crate::openfga::{Certificate, FirstAnswer, OpenFga, OpenFgaSettings, Refusal, Way};
use crate::page::Page;
use crate::source::{ChangeSource, LEAST_PAGE, LargestPage, Observed};
use crate::sync::RunOptions;

/// How long a request may be tried again: whoever asks a doctor waits for the answer.
const RETRY_FOR: Duration = Duration::from_secs(5);
/// A certificate that is valid no longer than this is to be renewed.
const RENEW_WITHIN: Duration = Duration::from_secs(14 * 86_400);
/// So far may clocks be apart. What a server tells of its own is in whole seconds.
const CLOCKS_AGREE: SignedDuration = SignedDuration::from_secs(5);
/// How far the log is read back for a young change.
const RECENT: [SignedDuration; 2] = [SignedDuration::from_mins(1), SignedDuration::from_hours(1)];
/// The characters of a name that is shown.
const NAME_WIDTH: usize = 80;

/// The settings for a few quick questions.
pub(super) fn impatient(settings: &OpenFgaSettings) -> OpenFgaSettings {
    OpenFgaSettings {
        retry_for: settings.retry_for.min(RETRY_FOR),
        ..settings.clone()
    }
}

/// Checks the source, and gives its store.
pub(super) fn check(
    checkup: &mut Checkup,
    settings: &OpenFgaSettings,
    options: &RunOptions,
) -> Option<StoreIdentity> {
    go_the_way(checkup, &Way::of(settings))?;
    let source = OpenFga::new(impatient(settings));
    let mut source = checkup.expect(Name::SignIn, source)?;
    let how = source.sign_in();
    let how = checkup.expect(Name::SignIn, how)?;
    let FirstAnswer { store, observed } = source.ask_first();
    let store = match store {
        Ok(store) => store,
        Err(Refusal::SignIn(error)) => {
            checkup.fail(Name::SignIn, &error);
            return None;
        }
        Err(Refusal::Other(error)) => {
            checkup.pass(Name::SignIn, how);
            checkup.fail(Name::Store, &error);
            return None;
        }
    };
    checkup.pass(Name::SignIn, how);
    checkup.pass(Name::Store, told(&store));
    check_clock(checkup, &observed);
    read(checkup, &mut source, options);
    Some(store)
}

/// A store as it is shown.
pub(super) fn told(store: &StoreIdentity) -> String {
    let name = store.name.as_deref().unwrap_or("without a name");
    let id = shortened(&store.id, NAME_WIDTH);
    format!("{} ({id})", shortened(name, NAME_WIDTH))
}

/// From the server's name to its certificate.
fn go_the_way(checkup: &mut Checkup, way: &Way) -> Option<()> {
    let by_proxy = way.proxy().map(|proxy| format!("the proxy {proxy}: "));
    let by_proxy = by_proxy.unwrap_or_default();
    let addresses = checkup.expect(Name::Dns, way.look_up())?;
    let shown: Vec<_> = addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    checkup.pass(Name::Dns, format!("{by_proxy}{}", shown.join(", ")));
    let (stream, address) = checkup.expect(Name::Connect, way.connect(&addresses))?;
    checkup.pass(Name::Connect, format!("{by_proxy}{address} accepts"));
    if !way.is_encrypted() {
        if way.stays_here() {
            checkup.pass(Name::Tls, "none, and nothing leaves this machine");
        } else {
            checkup.warn(
                Name::Tls,
                "none: the token and the tuples travel in the clear",
                "https://, where the server or a gateway before it has a certificate",
            );
        }
    } else if way.proxy().is_some() {
        checkup.leave_out(
            &[Name::Tls],
            "a proxy stands between: what is wrong with the certificate is told by the first request",
        );
    } else {
        let certificate = checkup.expect(Name::Tls, way.certificate(stream))?;
        match validity(&certificate) {
            (seen, None) => checkup.pass(Name::Tls, seen),
            (seen, Some(advice)) => checkup.warn(Name::Tls, seen, advice),
        }
    }
    Some(())
}

/// Who issued a certificate and until when it is valid, and what to do where that is soon.
pub(super) fn validity(certificate: &Certificate) -> (String, Option<&'static str>) {
    let issuer = shortened(&certificate.issuer, NAME_WIDTH);
    let until = Timestamp::try_from(certificate.not_after).map_or_else(
        |_| "the end of time".to_owned(),
        |time| format!("{time:.0}"),
    );
    let left = certificate.not_after.duration_since(SystemTime::now());
    let is_soon = left.is_ok_and(|left| left < RENEW_WITHIN);
    (
        format!("issued by {issuer}, valid until {until}"),
        is_soon.then_some("renew the certificate on the server, before runs fail by it"),
    )
}

/// By the server's clock a run knows what may still come late, where it is the slower one.
fn check_clock(checkup: &mut Checkup, observed: &Observed) {
    let Some(served_at) = observed.served_at else {
        checkup.leave_out(&[Name::Clock], "the server does not tell (no Date header)");
        return;
    };
    let ahead = served_at.duration_since(Timestamp::now());
    let seconds = ahead.as_secs().unsigned_abs();
    if ahead.abs() <= CLOCKS_AGREE {
        let most = CLOCKS_AGREE.as_secs();
        checkup.pass(
            Name::Clock,
            format!("no more than {most} s from this machine's"),
        );
        return;
    }
    let fast_or_slow = if ahead.is_positive() { "fast" } else { "slow" };
    checkup.warn(
        Name::Clock,
        format!("the server's clock is {seconds} s {fast_or_slow}, by this machine's"),
        "set both by NTP: how long changes are looked back for, and as of when a mirror is complete, rest on them",
    );
}

/// What a run reads: changes, and tuples where these contradict each other or there are none.
fn read(checkup: &mut Checkup, source: &mut OpenFga, options: &RunOptions) -> Option<()> {
    source.begin_at(options.start_time);
    let page = try_to_read(source, options.copy_model);
    let page = checkup.expect(Name::Read, page)?;
    let count = page.changes.len();
    let changes = if count == 0 {
        "an empty page: no change yet"
    } else {
        "the first changes"
    };
    checkup.pass(Name::Read, format!("{changes}, and the store's tuples"));
    let largest = LargestPage::default();
    source.know_largest_page(largest.clone());
    let page = source.read_changes(None, options.page_size);
    checkup.expect(Name::PageSize, page)?;
    checkup.pass(
        Name::PageSize,
        match largest.known() {
            Some(known) => format!("{known} changes in a page; the server takes no more"),
            None => format!("{} changes in a page", options.page_size),
        },
    );
    look_for_horizon(checkup, source, options.page_size);
    Some(())
}

fn try_to_read(source: &mut OpenFga, copies_model: bool) -> Result<Page> {
    let page = source.read_changes(None, LEAST_PAGE)?.page;
    match page.changes.first() {
        Some(change) => drop(source.point_reader()?.read_tuple(&change.tuple)?),
        None => drop(source.must_have_changes()?),
    }
    if copies_model {
        source.newest_model()?;
    }
    Ok(page)
}

/// The server has no way to be asked for `--changelog-horizon-offset`, which is in whole minutes. The age of any change that it shows is
/// the most that it can be.
fn look_for_horizon(checkup: &mut Checkup, source: &mut OpenFga, page_size: u32) -> Option<()> {
    for back in RECENT {
        let since = Timestamp::now() - back;
        source.begin_at(Some(since));
        let answer = checkup.expect(Name::Horizon, source.read_changes(None, page_size))?;
        let times = answer.page.changes.iter().map(|change| change.timestamp);
        // Servers before v1.8.0 begin at the start of the log.
        if let Some(youngest) = times.filter(|time| *time >= since).max() {
            let age = Timestamp::now().duration_since(youngest).as_secs().max(0);
            checkup.pass(
                Name::Horizon,
                format!("a change of {age} s ago is shown: none is held back for longer"),
            );
            return Some(());
        }
    }
    checkup.leave_out(
        &[Name::Horizon],
        "the server can't be asked for its --changelog-horizon-offset, and there is no change of the last hour that would tell",
    );
    Some(())
}
