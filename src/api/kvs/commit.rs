//! Commits the pending transaction of a handle.

use crate::api::handle::Handle;
use crate::api::kvs::refusal;
use crate::api::wait::Step;
use crate::lua::Result;

/// Commits the pending transaction. Succeeds if there is none. A transaction that
/// cannot be committed is dropped, and the error names its keys.
pub fn commit(handle: &Handle) -> Result<Step<bool>> {
    let backend = handle.backend()?;
    let Some(pending) = handle.take_pending() else {
        return Ok(Step::Done(true));
    };
    let (mut transaction, mut keys) = pending.into_parts();
    let future = match backend.commit(None, 0, transaction.as_mut()) {
        Ok(future) => future,
        Err(error) => return Err(keys.explain_commit(error).into()),
    };
    let handle = handle.clone();
    Step::wait(future, move |_, committed| match committed.payload() {
        Ok(_) => Ok(Step::Done(true)),
        Err(error) => refusal::explain(handle, keys, error),
    })
}
