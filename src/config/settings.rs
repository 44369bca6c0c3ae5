//! Every setting, group by group. Flags and their help, `--show-config`, the file's check for unknown keys and the man
//! pages are made from it.

pub use super::layers::CONFIG_ENV;
pub use super::setting::{Declaration, Flag, Takes};
use super::{output, run, sign_in, source, target, telemetry, transport};

/// The settings, in the order in which they are shown.
pub fn settings() -> impl Iterator<Item = &'static Declaration> {
    let groups = [
        source::SETTINGS,
        transport::SOURCE_SETTINGS,
        sign_in::SOURCE_SETTINGS,
        target::SETTINGS,
        transport::TARGET_SETTINGS,
        sign_in::TARGET_SETTINGS,
        run::SETTINGS,
        output::SETTINGS,
        telemetry::SETTINGS,
        telemetry::OF_RUN,
    ];
    groups.into_iter().flatten().copied()
}

/// Those whose flags every command has.
pub(crate) fn of_every_command() -> impl Iterator<Item = &'static Declaration> {
    let groups = [
        source::SETTINGS,
        transport::SOURCE_SETTINGS,
        sign_in::SOURCE_SETTINGS,
        target::SETTINGS,
        transport::TARGET_SETTINGS,
        sign_in::TARGET_SETTINGS,
        output::SETTINGS,
    ];
    groups.into_iter().flatten().copied()
}

/// Those whose flags `run` has besides.
pub(crate) fn of_run() -> impl Iterator<Item = &'static Declaration> {
    let groups = [run::SETTINGS, telemetry::SETTINGS, telemetry::OF_RUN];
    groups.into_iter().flatten().copied()
}

/// Those that `seed` has besides.
pub(crate) fn of_seed() -> impl Iterator<Item = &'static Declaration> {
    let groups = [run::OF_SEED, telemetry::SETTINGS, telemetry::OF_RUN];
    groups.into_iter().flatten().copied()
}

/// Those that `verify` has besides.
pub(crate) fn of_verify() -> impl Iterator<Item = &'static Declaration> {
    let groups = [run::OF_VERIFY, telemetry::SETTINGS];
    groups.into_iter().flatten().copied()
}
