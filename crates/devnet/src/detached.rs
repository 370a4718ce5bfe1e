//! Async work from where there is no runtime to do it on: a destructor.

use std::{io, sync::mpsc, thread, time::Duration};

use crate::error::DevnetError;

/// Runs `work` on a thread with a runtime of its own and waits for it, up to the deadline.
pub(crate) fn block_on<F>(operation: &str, deadline: Duration, work: F) -> Result<(), DevnetError>
where
    F: Future<Output = Result<(), DevnetError>> + Send + 'static,
{
    let (tell, done) = mpsc::channel();
    let spawned = thread::Builder::new().name("laurel-devnet-drop".into()).spawn(move || {
        let result = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(DevnetError::io("building a runtime"))
            .and_then(|runtime| runtime.block_on(work));
        // A receiver that has stopped waiting has reported that itself.
        let _ = tell.send(result);
    });
    spawned.map_err(DevnetError::io(operation))?;
    done.recv_timeout(deadline)
        .unwrap_or_else(|_| Err(DevnetError::io(operation)(io::ErrorKind::TimedOut.into())))
}
