//! The parts of a backend: sizes, packing, tiles and finishing, checked. For tests, benches, and engines that bring
//! loops of their own.

use crate::backend::{Backend, Row};
use crate::block::{Blocking, Plan, Room};
use crate::bytes::numbers_mut;
use crate::element::{Code, Element};
use crate::error::{Error, Name};
use crate::finish::{Epilogue, Finish, PerRow, RowTerms, TileAt};
use crate::matching::Effort;
use crate::microkernel::Tile;
use crate::packing::{PackRun, Side, Source};
use crate::panel::Elem;
use crate::proof::Shares;
use crate::scatter::staged_rows;
use crate::view::{MatMut, MatRef, ZeroPoint, plus, times};

/// Checks the start and length of memory that kernels want aligned to 64 bytes.
pub(crate) fn check_aligned(argument: &'static str, memory: &[u8], needed: usize) -> Result<(), Error> {
    check_aligned_to(argument, memory, needed, 64)
}

pub(crate) fn check_aligned_to(
    argument: &'static str,
    memory: &[u8],
    needed: usize,
    align: usize,
) -> Result<(), Error> {
    if memory.len() < needed || (needed > 0 && !memory.as_ptr().addr().is_multiple_of(align)) {
        // What is left once the start is aligned.
        let got = memory.len().saturating_sub(memory.as_ptr().align_offset(align).min(align));
        return match argument {
            "workspace" => Err(Error::Workspace { needed, got }),
            _ => Err(Error::Length { argument, expected: needed, got }),
        };
    }
    Ok(())
}

/// What panels of so many bytes, one behind the other from a multiple of 64 on, are aligned to.
pub(crate) const fn panel_align(bytes: usize) -> usize {
    1 << (64 | bytes).trailing_zeros()
}

/// Rows and k of a block as the kernel needs them, and the layout of the workspace.
fn plan(backend: Backend, m: usize, k: usize, blocking: Blocking) -> Result<Plan, Error> {
    let row = backend.row();
    let padded_k = backend.padded_k(k)?;
    let round = |n: usize, to: usize| n.div_ceil(to).max(1).checked_mul(to);
    let overflow = Error::Overflow { argument: "workspace", a: m, b: padded_k };
    let block_rows = round(blocking.rows.min(m), row.mr).ok_or(overflow)?;
    // A proof is for all of K.
    let depth = if row.proof.is_some() { usize::MAX } else { blocking.depth };
    let block_k = round(depth.min(padded_k), row.k_step).ok_or(overflow)?;
    let lines = |bytes: usize| bytes.checked_next_multiple_of(64).ok_or(overflow);
    let tile = lines(row.mr * row.nr * size_of::<i32>())?;
    let tiles = if block_k < padded_k { block_rows / row.mr } else { 1 };
    let terms = lines(times("workspace", block_rows, size_of::<i32>())?)? / size_of::<i32>();

    let lhs = 0;
    let packed = row.lhs.bytes(block_rows, padded_k).ok_or(overflow)?;
    // Or where rows start that lie in windows.
    let starts =
        if row.windows && padded_k > 0 { times("workspace", block_rows, size_of::<*const u8>())? } else { 0 };
    let row_terms = plus("workspace", lhs, lines(packed.max(starts))?)?;
    let scratch = plus("workspace", row_terms, times("workspace", terms, 3 * size_of::<i32>())?)?;
    let buffer = plus("workspace", scratch, times("workspace", tiles, tile)?)?;
    let staging = plus("workspace", buffer, lines(row.buffer_bytes(padded_k)?)?)?;
    let staged = lines(staged_rows(row.mr) * row.nr * size_of::<i32>())?;
    let total = plus("workspace", staging, staged)?;
    let tile_step = if tiles > 1 { tile } else { 0 };
    let room = Room { lhs, row_terms, terms, scratch, tile_step, buffer, staging, total };
    let panel = row.panel_bytes(Side::Rhs, row.nr, padded_k).ok_or(overflow)?;
    Ok(Plan {
        backend,
        k,
        padded_k,
        block_rows,
        block_k,
        panel,
        blocking: Blocking {
            packed_strides: blocking.packed_strides.max(1),
            rows_before_tail: blocking.rows_before_tail.max(1),
            panels: blocking.panels.max(1),
            ..blocking
        },
        room,
    })
}

impl Row {
    /// Bytes of `members` members of (padded) K in whole panels; `None` on overflow.
    fn panel_bytes(&self, side: Side, members: usize, padded_k: usize) -> Option<usize> {
        match (side, self.proof) {
            (Side::Lhs, _) => self.lhs.bytes(members, padded_k),
            (Side::Rhs, None) => self.rhs.bytes(members.checked_next_multiple_of(self.nr)?, padded_k),
            (Side::Rhs, Some(proof)) => proof.bytes(&self.rhs, members, padded_k),
        }
    }

    /// The same of as many members as a tile takes, which are whole panels, with few divisions: tiles check it in every call.
    fn tile_bytes(&self, side: Side, padded_k: usize) -> Option<usize> {
        let (panel, members) = match (side, self.proof) {
            (Side::Lhs, _) => (&self.lhs, self.mr),
            (Side::Rhs, None) => (&self.rhs, self.nr),
            (Side::Rhs, Some(_)) => return self.panel_bytes(side, self.nr, padded_k),
        };
        panel.whole_bytes(members / panel.width, padded_k)
    }

    /// Bytes of `Tile::buffer`.
    fn buffer_bytes(&self, padded_k: usize) -> Result<usize, Error> {
        let (rows, more) = self.proof.map_or((0, 0), |proof| proof.buffer(self.mr, 0));
        times("workspace", rows, plus("workspace", padded_k, more)?)
    }
}

impl Backend {
    /// `k` in whole steps of the kernel.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn padded_k(self, k: usize) -> Result<usize, Error> {
        let step = self.k_step();
        k.checked_next_multiple_of(step).ok_or(Error::Overflow { argument: "k", a: k, b: step })
    }

    /// `n` columns in whole panels.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn columns(self, n: usize) -> Result<usize, Error> {
        n.checked_next_multiple_of(self.nr()).ok_or(Error::Overflow { argument: "n", a: n, b: self.nr() })
    }

    /// Bytes that `members` rows of lhs, or columns of rhs, of `k` codes take when packed.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn packed_bytes(self, side: Side, members: usize, k: usize) -> Result<usize, Error> {
        let overflow = Error::Overflow { argument: "packed", a: members, b: k };
        self.row().panel_bytes(side, members, self.padded_k(k)?).ok_or(overflow)
    }

    /// Members of a panel that [`Backend::tile`] takes: `MR` rows of lhs, `NR` columns of rhs.
    pub fn members(self, side: Side) -> usize {
        match side {
            Side::Lhs => self.mr(),
            Side::Rhs => self.nr(),
        }
    }

    /// Bytes of such a panel, and so from one to the next in what [`Backend::pack`] writes for members of `k` codes.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn panel_bytes(self, side: Side, k: usize) -> Result<usize, Error> {
        self.packed_bytes(side, self.members(side), k)
    }

    /// What [`Backend::pack`] adds to each code, and so to their zero point: 128 where i8 become u8, -128 the other way.
    pub fn offset<C: Code>(self, side: Side) -> i32 {
        let panel = match side {
            Side::Lhs => self.lhs(),
            Side::Rhs => self.rhs(),
        };
        panel.elem.offset(C::SIGNED)
    }

    /// The sizes of [`crate::Job`]s of `k`. Jobs of more than `m` rows take them too, in smaller blocks.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn plan(self, m: usize, k: usize, blocking: Blocking) -> Result<Plan, Error> {
        plan(self, m, k, blocking)
    }

    /// Packs the rows of lhs or the columns of rhs, and their sums if asked for.
    ///
    /// `out` must be aligned to 64 bytes; a panel layout with contiguous members leaves its skew unwritten.
    ///
    /// # Errors
    /// [`Error::Length`] if `out` or `sums` have another size, [`Error::Overflow`].
    pub fn pack<C: Code>(
        self,
        side: Side,
        codes: MatRef<'_, C>,
        out: &mut [u8],
        sums: Option<&mut [i32]>,
    ) -> Result<(), Error> {
        self.pack_with(side, codes, out, sums, Effort::default())
    }

    /// Packs with more or less effort to find a fast order of rhs, where panels carry a proof.
    ///
    /// # Errors
    /// As [`Backend::pack`].
    pub fn pack_with<C: Code>(
        self,
        side: Side,
        codes: MatRef<'_, C>,
        out: &mut [u8],
        sums: Option<&mut [i32]>,
        effort: Effort,
    ) -> Result<(), Error> {
        let by_member = match side {
            Side::Lhs => codes,
            Side::Rhs => codes.transposed(),
        };
        let (members, k) = (by_member.rows(), by_member.cols());
        check_aligned("packed", out, self.packed_bytes(side, members, k)?)?;
        if let Some(sums) = &sums
            && sums.len() != members
        {
            return Err(Error::Length { argument: "sums", expected: members, got: sums.len() });
        }
        if members == 0 {
            return Ok(());
        }
        let run = PackRun {
            side,
            source: Source {
                codes: by_member.ptr.cast(),
                member_stride: by_member.row_stride(),
                k_stride: by_member.col_stride(),
                signed: C::SIGNED,
            },
            members,
            k,
            padded_k: self.padded_k(k)?,
            out: out.as_mut_ptr(),
            gap: 0,
            sums: sums.map_or(core::ptr::null_mut(), <[i32]>::as_mut_ptr),
            factor: 1,
            constant: 0,
            effort,
        };
        // SAFETY: Features: `self` exists. Source: the view was checked. Room: checked above.
        unsafe { (self.row().pack)(&run) };
        Ok(())
    }

    /// Takes zero points, one or one a column, from packed columns of `k` codes and from their sums: products need no sums of rows for
    /// them then. Only columns of 16 bits have room for what is left.
    ///
    /// # Errors
    /// [`Error::ZeroPoint`]; [`Error::Length`] if there are fewer bytes, or columns are of 8 bits; [`Error::Overflow`].
    pub fn absorb(
        self,
        zero_point: ZeroPoint<'_>,
        k: usize,
        panels: &mut [u8],
        sums: &mut [i32],
    ) -> Result<(), Error> {
        let (rhs, n, padded_k) = (self.rhs(), sums.len(), self.padded_k(k)?);
        zero_point.check("rhs", n, -255, 255)?;
        let bytes = self.packed_bytes(Side::Rhs, n, k)?;
        let room = if rhs.elem == Elem::I16 { panels.len() } else { 0 };
        let length = Error::Length { argument: "packed", expected: bytes, got: room };
        let panels = panels.get_mut(..bytes).filter(|_| room >= bytes).ok_or(length)?;
        let codes = numbers_mut::<i16>("packed", panels, bytes / size_of::<i16>())?;
        let strides = rhs.strides(padded_k);
        for (panel, sums) in sums.chunks_mut(rhs.width).enumerate() {
            let zero = |w: usize| match zero_point {
                ZeroPoint::One(zero) => zero,
                ZeroPoint::Each(zeros) => zeros[panel * rhs.width + w],
            };
            let codes = &mut codes[panel * strides.panel..];
            for k in 0..k {
                for w in 0..sums.len() {
                    let code = &mut codes[strides.offset(w, k)];
                    *code = code.wrapping_sub(zero(w) as i16);
                }
            }
            for (w, sum) in sums.iter_mut().enumerate() {
                *sum = sum.wrapping_sub(zero(w).wrapping_mul(k as i32));
            }
        }
        Ok(())
    }

    /// Checks packed columns that come from elsewhere: that their proof holds, if they carry one, and that orders of
    /// k are orders. Without this a product of theirs may be wrong, but never reads out of bounds. Returns which share
    /// is multiplied how; nothing where panels carry no proof.
    ///
    /// # Errors
    /// [`Error::Packed`]; [`Error::Length`] if there are fewer bytes; [`Error::Overflow`].
    pub fn verify(self, n: usize, k: usize, panels: &[u8]) -> Result<Option<Shares>, Error> {
        let Some(proof) = self.proof() else { return Ok(None) };
        let expected = self.packed_bytes(Side::Rhs, n, k)?;
        if expected == 0 {
            // K may be any then.
            return Ok(Some(Shares::default()));
        }
        let length = Error::Length { argument: "packed", expected, got: panels.len() };
        let panels = panels.get(..expected).ok_or(length)?;
        proof.verify(&self.rhs(), panels, self.padded_k(k)?).map(Some).map_err(|argument| Error::Packed {
            argument,
            expected: Name::new("as its proof says"),
            got: Name::new("otherwise"),
        })
    }

    /// Numbers that [`Backend::tile`] wants for a tile of (padded) `k`.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn tile_len(self, k: usize) -> Result<usize, Error> {
        let buffer = self.row().buffer_bytes(k)?.div_ceil(size_of::<i32>());
        plus("acc", self.mr() * self.nr(), buffer)
    }

    /// Multiplies `rows` rows of a packed lhs panel by a packed rhs panel; `k` is padded already.
    ///
    /// Panels are aligned to 64 bytes, or to what [`Backend::panel_bytes`] is a multiple of, if that is less: as the
    /// panels are that lie one behind the other in what [`Backend::pack`] writes. `acc` holds `MR` x `NR` sums, row-major, and
    /// room for the kernel if it needs any, [`Backend::tile_len`] in all; it is aligned to 64 bytes.
    ///
    /// # Errors
    /// [`Error::Length`] if a buffer is too short or not aligned, [`Error::Range`] if `rows` is not in
    /// `1..=MR` or `k` not a multiple of the step.
    pub fn tile(
        self,
        rows: usize,
        k: usize,
        lhs: &[u8],
        rhs: &[u8],
        acc: &mut [i32],
        add: bool,
    ) -> Result<(), Error> {
        let row = self.row();
        if rows == 0 || rows > row.mr {
            return Err(Error::Range { argument: "rows", end: rows, len: row.mr });
        }
        if !k.is_multiple_of(row.k_step) {
            return Err(Error::Range { argument: "k", end: k, len: row.k_step });
        }
        for (argument, side, panel) in [("lhs", Side::Lhs, lhs), ("rhs", Side::Rhs, rhs)] {
            let bytes = row.tile_bytes(side, k).ok_or(Error::Overflow { argument: "packed", a: row.nr, b: k })?;
            check_aligned_to(argument, panel, bytes, panel_align(bytes))?;
        }
        let (expected, got) = (self.tile_len(k)?, acc.len());
        if got != expected || !acc.as_ptr().addr().is_multiple_of(64) {
            return Err(Error::Length { argument: "acc", expected, got });
        }
        let (acc, buffer) = acc.split_at_mut(row.mr * row.nr);
        let tile = Tile {
            rows,
            k,
            lhs: lhs.as_ptr(),
            lhs_member: row.lhs.strides(k).member,
            windows: core::ptr::null(),
            rhs: rhs.as_ptr(),
            rhs_panel: row.rhs.strides(k).panel,
            ahead: 0,
            acc: acc.as_mut_ptr(),
            add,
            buffer: buffer.as_mut_ptr().cast(),
        };
        // SAFETY: Features: `self` exists. Lhs, Rhs, Acc: checked above. Entered: right here.
        unsafe {
            (row.enter)(rows);
            (row.tile)(tile);
            (row.leave)();
        }
        Ok(())
    }

    /// Finishes one tile of sums, `MR` x `NR` and row-major, into `out`, of at most that size.
    ///
    /// `acc` is aligned to 64 bytes; it is used up. `staging` is aligned to 64 bytes and has four bytes a sum.
    ///
    /// # Errors
    /// As [`crate::Job::run`].
    pub fn finish<O: Element>(
        self,
        finish: &Finish<'_>,
        acc: &mut [i32],
        staging: &mut [u8],
        out: MatMut<'_, O>,
    ) -> Result<(), Error> {
        let row = self.row();
        let (rows, cols) = (out.rows(), out.cols());
        if rows > row.mr || cols > row.nr {
            return Err(Error::Shape { argument: "out", expected: (row.mr, row.nr), got: (rows, cols) });
        }
        if acc.len() != row.mr * row.nr || !acc.as_ptr().addr().is_multiple_of(64) {
            return Err(Error::Length { argument: "acc", expected: row.mr * row.nr, got: acc.len() });
        }
        check_aligned("staging", staging, row.mr * row.nr * size_of::<i32>())?;
        finish.check::<O>(rows, row.nr)?;
        if finish.accumulate && !out.initialized {
            return Err(Error::Uninitialized);
        }
        // Row biases are the terms; without a product there is nothing else in them.
        let mut terms = [0i32; 64];
        let Some(terms) = terms.get_mut(..rows) else {
            return Err(Error::Range { argument: "rows", end: rows, len: 64 });
        };
        for (i, term) in terms.iter_mut().enumerate() {
            *term = match finish.row_bias {
                PerRow::One(bias) => bias,
                PerRow::Each(bias) => bias[i],
            };
        }
        let epilogue = Epilogue {
            finish,
            column_sums: finish.bias,
            lhs_zero: 0,
            column_zeros: None,
            dest: O::DEST,
            out: out.ptr.cast(),
            row_stride: out.row_stride(),
            col_stride: out.col_stride(),
        };
        let null = core::ptr::null();
        let at = TileAt {
            acc: acc.as_mut_ptr(),
            staging: staging.as_mut_ptr(),
            width: row.nr,
            terms: RowTerms { term: terms.as_ptr(), same: false, sum_factor: null, zero_factor: null },
            row: 0,
            col: 0,
            rows,
            cols,
        };
        // SAFETY: Features: `self` exists. Finish, Tile, Out: checked above.
        unsafe { (row.finish)(&epilogue, &at) };
        Ok(())
    }
}
