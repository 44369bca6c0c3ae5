//! The source's authorization model, for a target store: its tuples are of that.

use std::ops::ControlFlow;
use std::time::Instant;

use super::outcome::Outcome;
use super::session::Session;
use super::stop::Stop;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Listener};
use crate::source::ChangeSource;
use crate::target::TargetError;

/// Sees that the target's newest model says the same as the source's. It breaks off with the outcome of a run that ends before it has.
///
/// # Errors
/// Where the source has no model, or one side's can't be read or written.
pub(super) fn copy_model(
    mut source: Box<dyn ChangeSource>,
    session: &mut Session,
    (stop, deadline): (&Stop, Option<Instant>),
    listener: &mut dyn Listener,
) -> Result<ControlFlow<Outcome, Box<dyn ChangeSource>>> {
    let (model, source) = match stop.or(deadline, move || (source.newest_model(), source)) {
        Ok((model, source)) => (model?, source),
        Err(given_up) => return Ok(ControlFlow::Break(given_up.outcome())),
    };
    let Some(model) = model else {
        return Err(Error::new(
            ErrorKind::Schema,
            "the source has no authorization model to copy",
        )
        .advise("check --source and --store-id, or leave --copy-model away"));
    };
    let copied = session
        .copy_model(&model)
        .map_err(TargetError::into_error)?;
    listener.hear(&Event::ModelCopied(&copied));
    Ok(ControlFlow::Continue(source))
}
