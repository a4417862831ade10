//! The way in: what frames hold, as the client's task wants to read it.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use weir_wire::websocket::{Decoder, FrameError, Inflater, Item, close_payload};

use super::{Outgoing, RawIn};

/// Bytes that are inflated at a time.
const PORTION: usize = 8 * 1024;

/// Room for a frame's header behind the room for what it holds, so that one that fills that comes by one read.
const HEADER_ROOM: usize = 16;

/// The way in. Keeps memory only for what came and was not taken yet.
pub(crate) struct Incoming {
    socket: RawIn,
    outgoing: Arc<Outgoing>,
    decoder: Decoder,
    inflater: Option<Box<Inflater>>,
    inflated_max: u64,
    /// What came, and is not taken apart.
    raw: BytesMut,
    /// Of that, what was found to be a piece of a compressed message: its length, and whether the message ends with it.
    deflated: Option<(usize, bool)>,
    /// Why nothing more comes.
    end: Option<End>,
}

enum End {
    /// The client said so.
    Closed,
    Wrong(FrameError),
}

impl Incoming {
    pub(super) fn new(socket: RawIn, outgoing: Arc<Outgoing>, compression: bool, inflated_max: u64) -> Self {
        Self {
            socket,
            outgoing,
            decoder: Decoder::new(compression),
            inflater: None,
            inflated_max,
            raw: BytesMut::new(),
            deflated: None,
            end: None,
        }
    }

    /// Reads what is there into the free part of `buf`, or has the task woken when something is. 0: the peer has no more.
    pub fn poll_read(&mut self, context: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let (before, room) = (buf.len(), buf.capacity() - buf.len());
        let got = |buf: &BytesMut| buf.len() - before;
        let mut more = true;
        loop {
            self.take_apart(buf, room + before);
            if got(buf) == room || (got(buf) > 0 && (self.end.is_some() || !more)) {
                return Poll::Ready(Ok(got(buf)));
            }
            match self.end.take() {
                None => {}
                Some(End::Closed) => return Poll::Ready(Ok(0)),
                Some(End::Wrong(error)) => {
                    let payload = close_payload(error.status(), &error.to_string());
                    self.outgoing.say_close(&payload);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            }
            let wanted = room - got(buf) + HEADER_ROOM;
            self.raw.reserve(wanted);
            match self.socket.poll_read(context, &mut self.raw, wanted) {
                Poll::Pending if got(buf) > 0 => return Poll::Ready(Ok(got(buf))),
                Poll::Pending => {
                    self.rest();
                    self.outgoing.poll_control(context);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) if got(buf) > 0 => return Poll::Ready(Ok(got(buf))),
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(0)),
                Poll::Ready(Ok(read)) => more = read == wanted,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Fills `buf` up to `full` bytes with what came, as far as that goes.
    fn take_apart(&mut self, buf: &mut BytesMut, full: usize) {
        while buf.len() < full && self.end.is_none() {
            let room = full - buf.len();
            if self.deflated.is_some() {
                if let Err(error) = self.inflate(buf, room) {
                    self.end = Some(End::Wrong(error));
                }
                continue;
            }
            if self.raw.is_empty() {
                return;
            }
            // No more than fits, whatever it is.
            let taken = room.min(self.raw.len());
            let step = match self.decoder.decode(&mut self.raw[..taken]) {
                Ok(step) => step,
                Err(error) => {
                    self.end = Some(End::Wrong(error));
                    return;
                }
            };
            let mut consumed = step.consumed;
            match step.item {
                None | Some(Item::Pong) => {}
                Some(Item::Data(bytes)) => buf.extend_from_slice(bytes),
                Some(Item::Deflated { bytes, last }) => {
                    self.deflated = Some((bytes.len(), last));
                    consumed -= bytes.len();
                }
                Some(Item::Ping(payload)) => self.outgoing.pong(payload),
                Some(Item::Close(close)) => {
                    self.outgoing.say_close(&close.answer);
                    self.end = Some(End::Closed);
                }
            }
            self.raw.advance(consumed);
        }
    }

    /// Inflates some of a piece of a compressed message.
    fn inflate(&mut self, buf: &mut BytesMut, room: usize) -> Result<(), FrameError> {
        let Some((length, last)) = self.deflated else {
            return Ok(());
        };
        let max = self.inflated_max;
        let inflater = self.inflater.get_or_insert_with(|| Box::new(Inflater::new(max)));
        let mut portion = [0; PORTION];
        let found = inflater.inflate(&self.raw[..length], last, &mut portion[..room.min(PORTION)])?;
        buf.extend_from_slice(&portion[..found.written]);
        self.raw.advance(found.consumed);
        self.deflated = (!found.done).then_some((length - found.consumed, last));
        Ok(())
    }

    /// Nothing is there: gives back what is not needed until something is.
    fn rest(&mut self) {
        self.raw = BytesMut::new();
        if !self.decoder.is_within_message() {
            self.inflater = None;
        }
    }
}
