//! Instruction sets that libraries are held to.

/// An instruction set, by the name of zeropoint's backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isa {
    Native,
    Avx2,
    AvxVnni,
    Avx512,
    Avx512Vnni,
}

impl Isa {
    pub const ALL: [Self; 5] = [Self::Native, Self::Avx2, Self::AvxVnni, Self::Avx512, Self::Avx512Vnni];

    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avx-vnni",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512-vnni",
        }
    }

    /// The best of the vector instruction sets that this CPU has.
    fn widest() -> Self {
        if !cfg!(target_arch = "x86_64") {
            return Self::Native;
        }
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512vnni") {
                return Self::Avx512Vnni;
            }
            if is_x86_feature_detected!("avxvnni") {
                return Self::AvxVnni;
            }
            if is_x86_feature_detected!("avx512bw") {
                return Self::Avx512;
            }
        }
        Self::Avx2
    }

    /// For libraries without a switch: nothing to set where they would choose `self` anyway.
    ///
    /// # Errors
    /// Says so if they would choose another.
    pub fn by_itself(self) -> Result<(), String> {
        if self == Self::Native || self == Self::widest() {
            return Ok(());
        }
        Err(format!("has no switch, and this CPU has {}", Self::widest().name()))
    }

    /// The peak that products are compared with.
    pub fn peak(self) -> &'static str {
        if self == Self::Native { Self::widest().name() } else { self.name() }
    }
}
