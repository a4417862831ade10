//! Runs of erased records, as erasures and footers list them.

use weir_engine::Seq;

/// Consecutive sequences that were erased together, all of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EraseRun {
    /// The first of them.
    pub first: Seq,
    /// How many.
    pub count: u64,
    /// The bytes of their heads and bodies.
    pub bytes: u64,
}

fn put_varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn take_varint(raw: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = raw.split_first()?;
        *raw = rest;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

/// Writes runs in ascending order: their number, then for each the distance from the end of the one before, its
/// count and its bytes, all as LEB128.
pub fn encode_runs(runs: &[EraseRun], out: &mut Vec<u8>) {
    put_varint(runs.len() as u64, out);
    let mut end = 0;
    for run in runs {
        put_varint(run.first - end, out);
        put_varint(run.count, out);
        put_varint(run.bytes, out);
        end = run.first + run.count;
    }
}

/// Reads what [`encode_runs`] wrote, as often as it was written, into `out`; `None` if it makes no sense.
pub fn decode_runs(raw: &[u8], out: &mut Vec<EraseRun>) -> Option<()> {
    each_run(raw, &mut |run| out.push(run))
}

/// The same, one run after the other: of those before what makes no sense it is told.
pub fn each_run(mut raw: &[u8], visit: &mut dyn FnMut(EraseRun)) -> Option<()> {
    while !raw.is_empty() {
        let count = take_varint(&mut raw)?;
        let mut end = 0u64;
        for _ in 0..count {
            let first = end.checked_add(take_varint(&mut raw)?)?;
            let run = EraseRun {
                first,
                count: take_varint(&mut raw)?,
                bytes: take_varint(&mut raw)?,
            };
            end = first.checked_add(run.count)?;
            visit(run);
        }
    }
    Some(())
}
