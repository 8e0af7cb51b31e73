//! The one asynchronous runtime of a process: a single thread, begun only by verbs that need it.

use std::future::Future;

use crate::error::CliError;

/// Runs a future to its end on this thread. What it gave up waiting for, such as a lock that is never let go, does not
/// hold up the process: a runtime that is merely dropped would wait for it.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Signals)?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use tokio::task::spawn_blocking;
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn what_was_given_up_does_not_hold_up_the_end() {
        let (_held, lock) = channel::<()>();
        let (ended, end) = channel();
        thread::spawn(move || {
            let given_up = block_on(async {
                Ok(timeout(Duration::from_millis(10), spawn_blocking(move || lock.recv())).await.is_err())
            });
            ended.send(given_up.unwrap()).unwrap();
        });
        assert!(end.recv_timeout(Duration::from_secs(10)).unwrap());
    }
}
