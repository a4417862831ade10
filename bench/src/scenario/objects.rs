//! An object store as clients make one: the chunks of an object lie on a subject of their own, and what it is called on another.

use std::ops::Range;

use serde_json::json;

use super::stream::{self, Plan, Stream, Subjects};
use crate::cli::LoadArgs;
use crate::conn::{Conn, message, unique};
use crate::encode;
use crate::error::{LoadError, Result};
use crate::jetstream::{self, ack_seq};
use crate::payload::Payload;

/// Bytes of a chunk, as clients cut objects up.
pub const CHUNK_BYTES: usize = 128 << 10;
/// Chunks of an object, of the last one perhaps fewer.
const OBJECT_CHUNKS: u64 = 256;
/// Whatever the object is called, it is only one thing at a time.
const ROLLUP: &[u8] = b"NATS/1.0\r\nNats-Rollup: sub\r\n\r\n";

/// A store of objects.
#[derive(Debug)]
pub struct Objects {
    /// Its stream.
    pub stream: Stream,
    id: String,
}

impl Objects {
    /// Makes one that nobody else uses.
    ///
    /// # Errors
    /// What the API says.
    pub fn create(conn: &mut Conn, load: &LoadArgs) -> Result<Self> {
        let id = unique();
        let stream = Stream {
            name: format!("OBJ_{id}"),
            prefix: format!("$O.{id}.C"),
        };
        let shape = json!({
            "subjects": [format!("{}.>", stream.prefix), format!("$O.{id}.M.>")], "discard": "new", "allow_rollup_hdrs": true,
        });
        stream.create_as(conn, load, load.backend, &[], shape)?;
        Ok(Self { stream, id })
    }

    /// Subject of the chunks of an object.
    pub fn chunks(&self, object: u32) -> String {
        format!("{}.{object}", self.stream.prefix)
    }

    /// Subject of what an object is called.
    pub fn called(&self, object: u32) -> String {
        format!("$O.{}.M.{object}", self.id)
    }

    /// Puts an object of `chunks` chunks, of which `outstanding` are unacknowledged, and then what it is called.
    ///
    /// # Errors
    /// What [`stream::publish`] says.
    pub fn put(&self, conn: &mut Conn, object: u32, chunks: u64, outstanding: usize) -> Result<()> {
        let plan = Plan {
            messages: chunks,
            outstanding,
            subjects: Subjects::Number(u64::from(object)),
            size: CHUNK_BYTES,
            publisher: object,
            time_limit: None,
        };
        stream::publish(conn, &self.stream, plan)?;
        let about = json!({
            "name": object.to_string(), "bucket": self.id, "nuid": object.to_string(), "chunks": chunks,
            "size": chunks * CHUNK_BYTES as u64,
        });
        let reply = format!("{}called", conn.inbox());
        let (subject, about) = (self.called(object), about.to_string());
        encode::publish_headed(
            &mut conn.out,
            subject.as_bytes(),
            reply.as_bytes(),
            ROLLUP,
            about.as_bytes(),
        );
        conn.flush()?;
        loop {
            while let Some(frame) = conn.frames.pop()? {
                if let Some(msg) = message(frame, &mut conn.out)? {
                    return ack_seq(&msg).map(drop);
                }
            }
            conn.fill()?;
        }
    }

    /// Reads the whole stream back, where the objects were put one after the other.
    ///
    /// # Errors
    /// [`LoadError::Verify`] for a chunk that is not where it belongs.
    pub fn expect_all(&self, conn: &mut Conn, chunks: u64) -> Result<()> {
        let objects = parts(chunks).count() as u64;
        jetstream::expect_messages(conn, &self.stream.name, chunks + objects)?;
        let payload = Payload::new(CHUNK_BYTES);
        let mut expected =
            parts(chunks).flat_map(|(object, range)| range.map(move |chunk| Some((object, chunk))).chain([None]));
        jetstream::read_back(conn, &self.stream.name, chunks + objects, CHUNK_BYTES, |seq, msg| {
            let due = expected.next().flatten();
            let Some((object, chunk)) = due else {
                return Ok(());
            };
            let stamp = payload.check(msg.payload)?;
            if (stamp.publisher, stamp.counter) == (object, chunk) {
                return Ok(());
            }
            Err(LoadError::Verify(format!(
                "sequence {seq} holds {stamp:?}, chunk {chunk} of object {object} belongs there"
            )))
        })
    }
}

/// Objects of altogether `chunks` chunks: the number of each, and its chunks.
pub fn parts(chunks: u64) -> impl Iterator<Item = (u32, Range<u64>)> {
    (0..u32::MAX)
        .map(move |object| {
            let before = u64::from(object) * OBJECT_CHUNKS;
            (object, 0..chunks.saturating_sub(before).min(OBJECT_CHUNKS))
        })
        .take_while(|(_, range)| !range.is_empty())
}

#[cfg(test)]
mod tests;
