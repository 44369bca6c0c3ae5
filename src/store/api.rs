//! What is asked of the store.

use super::StoreSettings;
use crate::checkpoint::StoreIdentity;
use crate::error::Result;
use crate::model::Model;
use crate::openfga::{ModelError, ModelWriter, OpenFga, Sent, TupleWriter, Writes};
use crate::page::ContinuationToken;
use crate::source::{ChangeSource, TuplePage, TupleReader, TupleScanner, TupleState};
use crate::tuple::TupleKey;

/// A store that is written to.
pub trait StoreApi: Send {
    /// Which store it is.
    ///
    /// # Errors
    /// Where it does not exist or can't be reached.
    fn identity(&mut self) -> Result<StoreIdentity>;

    /// Whether there is any tuple.
    ///
    /// # Errors
    /// Where it can't be reached.
    fn holds_tuples(&mut self) -> Result<bool>;

    /// A tuple as it is now.
    ///
    /// # Errors
    /// Where it can't be reached.
    fn read(&mut self, tuple: &TupleKey) -> Result<TupleState>;

    /// All tuples, page by page, as [`TupleScanner`] reads them.
    ///
    /// # Errors
    /// Where it can't be reached.
    fn scan(&mut self, after: Option<&ContinuationToken>) -> Result<TuplePage>;

    /// The newest authorization model, if there is any.
    ///
    /// # Errors
    /// Where it may not be read, or can't be reached.
    fn newest_model(&mut self) -> Result<Option<Model>>;

    /// Writes a model as the newest, once, and gives its id. `may_go` is asked as of [`write`](Self::write).
    fn write_model(
        &mut self,
        model: &Model,
        may_go: &mut dyn FnMut() -> bool,
    ) -> Sent<String, ModelError>;

    /// Names the model that tuples are written under from now on.
    fn write_under(&mut self, model_id: String);

    /// Does one request, as a whole or not at all. `may_go` is asked each time, just before it is sent.
    fn write(&mut self, writes: &Writes, may_go: &mut dyn FnMut() -> bool) -> Sent;
}

/// A store on a server.
pub(super) struct OverHttp {
    store: OpenFga,
    reader: Box<dyn TupleReader>,
    scanner: Box<dyn TupleScanner>,
    models: ModelWriter,
    writer: TupleWriter,
}

impl OverHttp {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// Where the token can't be a header value, or TLS can't be set up.
    pub(super) fn new(settings: &StoreSettings) -> Result<Self> {
        let store = OpenFga::new(settings.api.clone())?;
        Ok(Self {
            reader: store.point_reader()?,
            scanner: store.scanner()?,
            models: store.model_writer(settings.timeout)?,
            writer: store.tuple_writer(settings.model_id.clone(), settings.timeout)?,
            store,
        })
    }
}

impl StoreApi for OverHttp {
    fn identity(&mut self) -> Result<StoreIdentity> {
        self.store.store()
    }

    fn holds_tuples(&mut self) -> Result<bool> {
        self.store.must_have_changes()
    }

    fn read(&mut self, tuple: &TupleKey) -> Result<TupleState> {
        self.reader.read_tuple(tuple)
    }

    fn scan(&mut self, after: Option<&ContinuationToken>) -> Result<TuplePage> {
        self.scanner.read_tuples(after)
    }

    fn newest_model(&mut self) -> Result<Option<Model>> {
        self.models.newest()
    }

    fn write_model(
        &mut self,
        model: &Model,
        may_go: &mut dyn FnMut() -> bool,
    ) -> Sent<String, ModelError> {
        self.models.write(model, may_go)
    }

    fn write_under(&mut self, model_id: String) {
        self.writer.write_under(model_id);
    }

    fn write(&mut self, writes: &Writes, may_go: &mut dyn FnMut() -> bool) -> Sent {
        self.writer.write(writes, may_go)
    }
}
