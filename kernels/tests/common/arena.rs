//! Memory for tests: slices whose surroundings are watched, or may not be touched at all.

use std::alloc::Layout;
use std::cell::RefCell;
use std::ops::Range;

#[cfg(all(unix, not(miri)))]
use super::pages;

/// What surrounds a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Margins that are checked afterwards, at addresses that are aligned no better than they have to be.
    Heap,
    /// The page before the slice is unmapped.
    Before,
    /// The page behind the slice is unmapped. A slice that is aligned to 64 bytes may end up to 63 bytes earlier.
    Behind,
}

/// What margins are filled with.
const MARGIN: u8 = 0xa5;

/// Slices of a case, freed together.
pub struct Arena {
    place: Place,
    memory: RefCell<Vec<Memory>>,
}

/// One allocation, with a slice in it.
struct Memory {
    base: *mut u8,
    len: usize,
    slice: Range<usize>,
}

impl Arena {
    pub fn new(place: Place) -> Self {
        Self { place, memory: RefCell::default() }
    }

    /// `len` elements, aligned as their type asks.
    pub fn slice<T: Copy>(&self, len: usize, init: impl FnMut(usize) -> T) -> &mut [T] {
        self.aligned(len, align_of::<T>(), init)
    }

    /// `len` elements, aligned as kernels want panels and tiles.
    pub fn lines<T: Copy>(&self, len: usize, init: impl FnMut(usize) -> T) -> &mut [T] {
        self.aligned(len, 64, init)
    }

    #[allow(clippy::mut_from_ref)] // a new allocation every time
    fn aligned<T: Copy>(&self, len: usize, align: usize, mut init: impl FnMut(usize) -> T) -> &mut [T] {
        let bytes = len * size_of::<T>();
        let count = self.memory.borrow().len();
        let memory = match self.place {
            Place::Heap => heap(bytes, align, count),
            #[cfg(all(unix, not(miri)))]
            Place::Before | Place::Behind => {
                let (base, len) = pages::map(bytes);
                let start = if self.place == Place::Before { 0 } else { (len - bytes) / align * align };
                Memory { base, len, slice: start..start + bytes }
            }
            #[cfg(not(all(unix, not(miri))))]
            Place::Before | Place::Behind => panic!("no pages to protect here"),
        };
        let Memory { base, ref slice, len: room } = memory;
        // SAFETY: `slice` lies in `room` bytes from `base`, which are allocated and aligned for `T`; nobody else
        // has a reference to them before the arena is dropped.
        let elements = unsafe {
            base.write_bytes(MARGIN, slice.start);
            base.add(slice.end).write_bytes(MARGIN, room - slice.end);
            let first = base.add(slice.start).cast::<T>();
            for i in 0..len {
                first.add(i).write(init(i));
            }
            std::slice::from_raw_parts_mut(first, len)
        };
        self.memory.borrow_mut().push(memory);
        elements
    }

    /// What was written beside a slice, if anything.
    pub fn damage(&self) -> Option<String> {
        for (number, Memory { base, len, slice }) in self.memory.borrow().iter().enumerate() {
            // SAFETY: allocated and initialized, and outside the slice that is borrowed.
            let margin =
                |range: Range<usize>| unsafe { std::slice::from_raw_parts(base.add(range.start), range.len()) };
            let bad = |range: Range<usize>| Some(range.start + margin(range).iter().position(|b| *b != MARGIN)?);
            if let Some(at) = bad(0..slice.start).or_else(|| bad(slice.end..*len)) {
                let offset = at as isize - slice.start as isize;
                return Some(format!("slice {number}, {} bytes: wrote at offset {offset}", slice.len()));
            }
        }
        None
    }
}

/// Memory with margins of at least 64 bytes, aligned to `align` but, below 64, rarely better.
fn heap(bytes: usize, align: usize, count: usize) -> Memory {
    let start = if align < 64 { 64 + (count * 5 + 1) * align % 64 } else { 64 };
    let len = start + bytes + 64;
    // SAFETY: `len` is not zero.
    let base = unsafe { std::alloc::alloc(layout(len)) };
    assert!(!base.is_null());
    Memory { base, len, slice: start..start + bytes }
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(len, 64).unwrap()
}

impl Drop for Arena {
    fn drop(&mut self) {
        for Memory { base, len, .. } in self.memory.get_mut() {
            match self.place {
                // SAFETY: allocated by `heap` with this layout.
                Place::Heap => unsafe { std::alloc::dealloc(*base, layout(*len)) },
                #[cfg(all(unix, not(miri)))]
                Place::Before | Place::Behind => pages::unmap(*base, *len),
                #[cfg(not(all(unix, not(miri))))]
                Place::Before | Place::Behind => {}
            }
        }
    }
}
