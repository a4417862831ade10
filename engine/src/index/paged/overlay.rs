//! The writes of the turn under way, seen as if they were in the [`Kv`] already.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::backend::{Kv, VisitKey};
use crate::error::Result;

/// Keys and their values to be; `None` for those to be deleted.
pub(super) type Overlay = BTreeMap<Bytes, Option<Bytes>>;

/// As [`Kv::scan`], with the overlay's changes.
pub(super) fn scan(
    kv: &dyn Kv,
    overlay: &Overlay,
    prefix: &[u8],
    from: Option<&[u8]>,
    visit: VisitKey<'_>,
) -> Result<()> {
    let start = from.filter(|from| *from > prefix).unwrap_or(prefix);
    let mut changes = overlay
        .range::<[u8], _>((Bound::Included(start), Bound::Unbounded))
        .take_while(|(key, _)| key.starts_with(prefix))
        .peekable();
    let mut stopped = false;
    kv.scan(prefix, from, &mut |key, value| {
        while let Some((changed, new)) = changes.next_if(|(changed, _)| changed.as_ref() <= key) {
            let done = match new {
                Some(new) => visit(changed, new),
                None => ControlFlow::Continue(()),
            };
            if done.is_break() {
                stopped = true;
                return done;
            }
            if changed.as_ref() == key {
                return ControlFlow::Continue(());
            }
        }
        let done = visit(key, value);
        stopped = done.is_break();
        done
    })?;
    if stopped {
        return Ok(());
    }
    for (key, value) in changes {
        if let Some(value) = value
            && visit(key, value).is_break()
        {
            break;
        }
    }
    Ok(())
}
