//! A source that is a recording.

use super::{Checkup, Name};
use crate::checkpoint::StoreIdentity;
use crate::source::{ChangeSource, Input, LEAST_PAGE, Replay};

/// Checks that it can be read. Standard input can be read once, so it is left to the run.
pub(super) fn check(checkup: &mut Checkup, input: &Input, store_id: &str) -> Option<StoreIdentity> {
    use Name::{Clock, Connect, Dns, Horizon, PageSize, Read, SignIn, Store, Tls};
    let of_server = [Dns, Connect, Tls, SignIn, PageSize, Clock, Horizon];
    checkup.leave_out(&of_server, "the source is a recording");
    if matches!(input, Input::Stdin) {
        checkup.leave_out(&[Store, Read], "standard input is left to the run");
        return None;
    }
    let mut source = Replay::new(input.clone(), store_id.to_owned());
    let store = checkup.expect(Store, source.store())?;
    checkup.pass(Store, "a recording does not tell which store it is of");
    let page = source.read_changes(None, LEAST_PAGE);
    checkup.expect(Read, page)?;
    checkup.pass(Read, "the first changes");
    Some(store)
}
