//! Requests with a window of unanswered ones. Each place in the window has a reply subject of its own, and asks anew once it
//! was answered.

use std::time::Instant;

use hdrhistogram::Histogram;

use crate::clock::now_ns;
use crate::conn::{Conn, message};
use crate::encode;
use crate::error::{LoadError, Result};
use crate::frame::{Msg, decimal};
use crate::measure::latencies;

/// Unanswered requests when the command line does not say.
pub const OUTSTANDING: usize = 64;

/// What is asked, and what is to be answered.
pub trait Questions {
    /// Appends request `number`, whose answer is to come on `reply`.
    fn ask(&mut self, number: u64, reply: &[u8], out: &mut Vec<u8>);

    /// Looks at the answer to request `number`.
    ///
    /// # Errors
    /// It is not what it has to be.
    fn check(&mut self, number: u64, answer: &Msg<'_>) -> Result<()>;
}

/// What came of it.
#[derive(Debug)]
pub struct Answered {
    /// How many requests there were; each has been answered.
    pub count: u64,
    /// From each request to its answer.
    pub latency: Histogram<u64>,
}

/// Asks `count` times, with `outstanding` unanswered requests, and no more after `until`.
///
/// # Errors
/// What `questions` says of an answer; an answer that is missing, or is to nothing that was asked.
pub fn ask(
    conn: &mut Conn,
    questions: &mut impl Questions,
    count: u64,
    outstanding: usize,
    until: Instant,
) -> Result<Answered> {
    let mut window = Window::new(outstanding)?;
    let inbox_len = conn.inbox().len();
    let mut reply = conn.inbox().as_bytes().to_vec();
    let (mut sent, mut answered) = (0, 0);
    loop {
        if Instant::now() < until {
            while sent < count
                && let Some(place) = window.ask(sent, now_ns())
            {
                reply.truncate(inbox_len);
                encode::number(&mut reply, place as u64);
                questions.ask(sent, &reply, &mut conn.out);
                sent += 1;
            }
        }
        if !conn.out.is_empty() {
            conn.flush()?;
        }
        if answered == sent {
            break;
        }
        conn.fill()?;
        let received_ns = now_ns();
        while let Some(frame) = conn.frames.pop()? {
            if let Some(msg) = message(frame, &mut conn.out)? {
                let number = window.answer(&msg, inbox_len, received_ns)?;
                questions.check(number, &msg)?;
                answered += 1;
            }
        }
    }
    // An answer too many is on its way before the answer to this.
    conn.round_trip()?;
    Ok(Answered {
        count: answered,
        latency: window.latency,
    })
}

/// Which requests are not answered yet.
struct Window {
    /// Of each place, which request was sent last and when; `None` where nothing is on its way.
    asked: Vec<Option<(u64, u64)>>,
    free: Vec<usize>,
    latency: Histogram<u64>,
}

impl Window {
    fn new(places: usize) -> Result<Self> {
        Ok(Self {
            asked: vec![None; places],
            free: (0..places).rev().collect(),
            latency: latencies()?,
        })
    }

    /// A place for request `number`, if one is free.
    fn ask(&mut self, number: u64, sent_ns: u64) -> Option<usize> {
        let place = self.free.pop()?;
        self.asked[place] = Some((number, sent_ns));
        Some(place)
    }

    /// Takes an answer; answers to which request it is.
    fn answer(&mut self, msg: &Msg<'_>, inbox_len: usize, received_ns: u64) -> Result<u64> {
        let place = msg.subject.get(inbox_len..).and_then(decimal);
        let place = place.and_then(|place| usize::try_from(place).ok());
        let taken = place.and_then(|place| Some((place, self.asked.get_mut(place)?.take()?)));
        let Some((place, (number, sent_ns))) = taken else {
            return Err(LoadError::Verify(format!(
                "an answer to nothing that was asked: {msg:?}"
            )));
        };
        self.free.push(place);
        self.latency.saturating_record(received_ns.saturating_sub(sent_ns));
        Ok(number)
    }
}

#[cfg(test)]
mod tests;
