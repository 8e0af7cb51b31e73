//! The one asynchronous runtime of a process: a single thread, begun only by verbs that need it.

use std::future::Future;

use crate::error::CliError;

/// Runs a future to its end on this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Signals)?
        .block_on(future)
}
