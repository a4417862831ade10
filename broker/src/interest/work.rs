//! What the messages of one read ask of parts of the server that take them in batches.

use std::any::Any;

use smallvec::SmallVec;

/// What one part of the server gathers while a sender's messages are routed: JetStream's inputs for its storage threads, say.
pub trait Tray: Any + Send {
    /// The sender's batch (its read buffer, or what a courier sent) is worked off: hands over what was gathered. The tray is
    /// used again.
    fn submit(&mut self);
}

/// The trays of one sender, of each kind the one that its first message made.
#[derive(Default)]
pub struct Work {
    trays: SmallVec<[Box<dyn Tray>; 1]>,
    message: u64,
}

impl Work {
    /// The tray of that kind.
    pub fn of<T: Tray + Default>(&mut self) -> &mut T {
        let found = self.trays.iter().position(|tray| {
            let tray: &dyn Any = &**tray;
            tray.is::<T>()
        });
        let at = found.unwrap_or_else(|| {
            self.trays.push(Box::new(T::default()));
            self.trays.len() - 1
        });
        match (&mut *self.trays[at] as &mut dyn Any).downcast_mut() {
            Some(tray) => tray,
            None => unreachable!("the tray at this place was found, or made, by its type"),
        }
    }

    /// The number of the message that is being routed: no other one of this sender has it.
    #[must_use]
    pub fn message(&self) -> u64 {
        self.message
    }

    /// Another message is routed from now on.
    pub(crate) fn next_message(&mut self) {
        self.message += 1;
    }

    /// Hands over what was gathered.
    pub(crate) fn submit(&mut self) {
        for tray in &mut self.trays {
            tray.submit();
        }
    }
}

#[cfg(test)]
mod tests;
