//! Packed layouts as numbers. No other file computes an offset into packed data.
//!
//! A panel is a strip of `width` rows of lhs, or columns of rhs. Element `k` of strip member `w` lies at
//! `(k / group) * width * group + w * group + k % group`: one instruction consumes `group` consecutive k of
//! each member. A group of all K ([`Panel::ROWS`]) makes each member contiguous.
//!
//! ```text
//! width 4, group 2; a cell is k then member      element (w, k) at (k/2)*8 + w*2 + k%2
//!  00: 00 10 | 01 11 | 02 12 | 03 13             step 0: k 0 and 1 of four members
//!  08: 20 30 | 21 31 | 22 32 | 23 33             step 1: k 2 and 3
//! ```

/// The type that packed codes have in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Elem {
    /// Codes as u8; i8 codes have their sign bit flipped and their zero point raised by 128.
    U8,
    /// Codes as i8; u8 codes have their sign bit flipped and their zero point lowered by 128.
    I8,
    /// Codes widened to i16, as they are.
    I16,
}

impl Elem {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 => 2,
        }
    }

    /// Element `at` from `p` on.
    ///
    /// # Safety
    /// In bounds: that element is readable.
    #[inline(always)]
    pub(crate) unsafe fn read(self, p: *const u8, at: usize) -> i32 {
        // SAFETY: In bounds.
        unsafe {
            match self {
                Self::U8 => i32::from(*p.add(at)),
                Self::I8 => i32::from(*p.cast::<i8>().add(at)),
                Self::I16 => i32::from(*p.cast::<i16>().add(at)),
            }
        }
    }

    /// What packing adds to a code of the given signedness, and so to its zero point.
    pub const fn offset(self, signed: bool) -> i32 {
        match (self, signed) {
            (Self::U8, true) => 128,
            (Self::I8, false) => -128,
            _ => 0,
        }
    }
}

/// The layout of one packed side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Panel {
    /// Members (rows of lhs, columns of rhs) of a panel.
    pub width: usize,
    /// Consecutive k of one member, or [`Panel::ROWS`].
    pub group: usize,
    /// Type of an element.
    pub elem: Elem,
}

impl Panel {
    /// The group that makes every member contiguous.
    pub const ROWS: usize = usize::MAX;

    /// Whether every member is contiguous.
    pub const fn is_rows(&self) -> bool {
        self.group == Self::ROWS
    }

    /// Steps, in elements, for `k` elements a member, `k` being padded as the kernel asks.
    ///
    /// Contiguous members get one cache line more where their length is a multiple of 512 bytes: such
    /// strides fall into few cache sets.
    #[inline]
    pub const fn strides(&self, k: usize) -> Strides {
        if self.is_rows() {
            let bytes = k * self.elem.size();
            let skew = if k > 0 && bytes.is_multiple_of(512) { 64 / self.elem.size() } else { 0 };
            let member = k + skew;
            Strides { member, group: self.group, step: 0, panel: member * self.width }
        } else {
            let step = self.width * self.group;
            Strides { member: self.group, group: self.group, step, panel: self.width * k }
        }
    }

    /// Bytes that `members` members of `k` (padded) elements take, in whole panels; `None` on overflow.
    pub const fn bytes(&self, members: usize, k: usize) -> Option<usize> {
        if members == 0 {
            return Some(0);
        }
        let Some(members) = members.checked_add(self.width - 1) else { return None };
        self.whole_bytes(members / self.width, k)
    }

    /// Bytes of so many panels; `None` on overflow.
    pub(crate) const fn whole_bytes(&self, panels: usize, k: usize) -> Option<usize> {
        // The skew of `strides` is at most 64 bytes a member.
        let (Some(k_room), Some(members)) = (k.checked_add(64), panels.checked_mul(self.width)) else {
            return None;
        };
        match members.checked_mul(k_room) {
            Some(n) if n <= isize::MAX as usize / 2 => {}
            _ => return None,
        }
        Some(panels * self.strides(k).panel * self.elem.size())
    }
}

/// Steps inside packed data, in elements; made by [`Panel::strides`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Strides {
    /// From a member to the next of the same panel.
    pub member: usize,
    /// Consecutive k of one member.
    pub group: usize,
    /// From a group to the next of the same member.
    pub step: usize,
    /// From a panel to the next.
    pub panel: usize,
}

impl Strides {
    /// Where element `k` of member `w` of the first panel lies.
    #[inline(always)]
    pub const fn offset(&self, w: usize, k: usize) -> usize {
        k / self.group * self.step + w * self.member + k % self.group
    }
}
