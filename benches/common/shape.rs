//! The shapes of the comparison with other libraries.

/// M x K x N.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    pub m: usize,
    pub k: usize,
    pub n: usize,
}

impl Shape {
    pub const fn new(m: usize, k: usize, n: usize) -> Self {
        Self { m, k, n }
    }

    /// Operations: a multiplication and an addition are two.
    pub fn operations(self) -> f64 {
        2.0 * self.m as f64 * self.k as f64 * self.n as f64
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}", self.m, self.k, self.n)
    }
}

/// Squares, layers of MobileNet and ResNet, fully connected layers, layers of BERT.
#[rustfmt::skip]
pub const SHAPES: [Shape; 30] = [
    Shape::new(64, 64, 64), Shape::new(128, 128, 128), Shape::new(256, 256, 256), Shape::new(512, 512, 512),
    Shape::new(1024, 1024, 1024), Shape::new(2048, 2048, 2048),
    Shape::new(12544, 32, 64), Shape::new(3136, 64, 128), Shape::new(3136, 128, 128), Shape::new(784, 128, 256),
    Shape::new(784, 256, 256), Shape::new(196, 256, 512), Shape::new(196, 512, 512), Shape::new(49, 512, 1024),
    Shape::new(49, 1024, 1024), Shape::new(1, 1024, 1001),
    Shape::new(12544, 147, 64), Shape::new(3136, 64, 64), Shape::new(3136, 576, 64), Shape::new(3136, 64, 256),
    Shape::new(784, 1152, 128), Shape::new(196, 2304, 256), Shape::new(49, 4608, 512), Shape::new(49, 2048, 512),
    Shape::new(1, 4096, 4096), Shape::new(4, 4096, 4096), Shape::new(16, 4096, 4096),
    Shape::new(128, 768, 768), Shape::new(128, 768, 3072), Shape::new(128, 3072, 768),
];
