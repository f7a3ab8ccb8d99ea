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
    /// Those that a library can be held to.
    pub const NAMED: [Self; 4] = [Self::Avx2, Self::AvxVnni, Self::Avx512, Self::Avx512Vnni];
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

    /// What this CPU has, best first.
    fn here() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let here = [
            (Self::Avx512Vnni, is_x86_feature_detected!("avx512vnni")),
            (Self::AvxVnni, is_x86_feature_detected!("avxvnni")),
            (Self::Avx512, is_x86_feature_detected!("avx512bw")),
            (Self::Avx2, is_x86_feature_detected!("avx2")),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let here: [(Self, bool); 0] = [];
        here.into_iter().filter_map(|(isa, here)| here.then_some(isa)).chain([Self::Native])
    }

    /// Whether this CPU has it.
    pub fn is_here(self) -> bool {
        Self::here().any(|isa| isa == self)
    }

    /// The best that this CPU has.
    fn widest() -> Self {
        Self::here().next().unwrap_or(Self::Native)
    }

    /// For libraries without a switch: nothing to set where they would choose `self` anyway, since the CPU, or the mask
    /// that it is run under, has nothing wider.
    ///
    /// # Errors
    /// Says so if they would choose another.
    pub fn by_itself(self) -> Result<(), String> {
        if self == Self::Native {
            return Ok(());
        }
        let wider = nameless().or_else(|| (self != Self::widest()).then(|| Self::widest().name()));
        wider.map_or(Ok(()), |wider| Err(format!("has no switch, and this CPU has {wider}")))
    }

    /// The peak that products are compared with.
    pub fn peak(self) -> &'static str {
        if self == Self::Native { Self::widest().name() } else { self.name() }
    }
}

/// What is here of the 8-bit instructions that some libraries choose and nothing is held to.
fn nameless() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        // Leaf 7, EDX: bit 25.
        let amx = is_x86_feature_detected!("avx2") && core::arch::x86_64::__cpuid_count(7, 0).edx >> 25 & 1 == 1;
        let names = [("amx-int8", amx), ("avx-vnni-int8", is_x86_feature_detected!("avxvnniint8"))];
        names.into_iter().find_map(|(name, here)| here.then_some(name))
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}
