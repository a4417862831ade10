//! What an [`Image`](crate::image::Image) shows of a shard.

use crate::shard::Shard;
use crate::stream::Stream;
use crate::types::{Seq, StreamId};

impl Shard {
    /// Puts the streams into the catalogue that are not offline; the others are there.
    pub(crate) fn show_streams(&self) {
        for stream in self.streams.values() {
            self.env.catalogue.insert(stream, self.number);
        }
    }

    /// A stream, if it is not offline.
    pub(crate) fn stream_of_image(&self, id: StreamId) -> Option<&Stream> {
        self.streams.get(&id)
    }

    /// A stream, if anything of it can be read.
    pub(crate) fn readable_stream(&mut self, id: StreamId) -> Option<&mut Stream> {
        let online = self.streams.get_mut(&id);
        online.or_else(|| self.offline.frozen(id))
    }

    /// Whether a record of the journal, by the number that it had first, counts for its stream; see [`Image::counts`].
    ///
    /// [`Image::counts`]: crate::image::Image::counts
    pub(crate) fn record_counts(&self, id: StreamId, at: Seq) -> bool {
        !self.outlook.is_void(at, id)
    }
}
