//! The bytes of the subjects' names, side by side: a million short names in boxes of their own would cost half as
//! much again for the allocator's sake.

/// Names do not cross pages, and a page grows to about this size.
const PAGE: usize = 64 << 10;

/// Where a name lies: page, offset and length in eight bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    page: u32,
    offset: u16,
    len: u16,
}

/// An append-only store of names. What is removed is only counted; the owner moves the rest to a new one when
/// [`is_sparse`](Names::is_sparse) says so.
#[derive(Debug, Default)]
pub(super) struct Names {
    pages: Vec<Vec<u8>>,
    live: usize,
    dead: usize,
}

impl Names {
    /// Keeps a name; `None` if it is longer than 65,535 bytes, which no record's head can hold.
    pub fn add(&mut self, name: &[u8]) -> Option<Place> {
        let len = u16::try_from(name.len()).ok()?;
        if self
            .pages
            .last()
            .is_none_or(|page| page.len() + name.len() > PAGE || page.len() > usize::from(u16::MAX))
        {
            self.pages.push(Vec::new());
        }
        let page = self.pages.last_mut()?;
        let offset = page.len() as u16;
        page.extend_from_slice(name);
        self.live += name.len();
        Some(Place {
            page: (self.pages.len() - 1) as u32,
            offset,
            len,
        })
    }

    /// The name at a place that was answered by [`Self::add`].
    pub fn get(&self, place: Place) -> &[u8] {
        let start = usize::from(place.offset);
        self.pages
            .get(place.page as usize)
            .and_then(|page| page.get(start..start + usize::from(place.len)))
            .unwrap_or_default()
    }

    /// Counts a name as removed.
    pub fn remove(&mut self, place: Place) {
        self.live -= usize::from(place.len);
        self.dead += usize::from(place.len);
    }

    /// Whether more than half is dead, and it is worth the copying.
    pub fn is_sparse(&self) -> bool {
        self.dead > self.live + PAGE
    }
}

#[cfg(test)]
mod tests;
