//! The exponential in more bits than any 8-bit code can show, in integers: what tables of codes are made from.

/// e^-(2^k) for k = -2..=5, in steps of 2^-63, rounded.
const POWERS: [u64; 8] = [
    7_183_169_364_861_397_922,
    5_594_257_926_288_582_650,
    3_393_088_950_634_442_637,
    1_248_247_667_004_394_400,
    168_931_951_563_480_719,
    3_094_096_621_605_846,
    1_037_953_783_668,
    116_806,
];

/// Bits behind the point of an argument.
const BITS: u32 = 57;

/// The product of numbers in steps of 2^-63, rounded.
const fn times(a: u64, b: u64) -> u64 {
    ((a as u128 * b as u128 + (1 << 62)) >> 63) as u64
}

/// `count * scale`, in steps of 2^-57, rounded; saturated. The scale is a magnitude; NaN counts as 0.
pub fn product(count: u32, scale: f64) -> u64 {
    let bits = scale.to_bits() & !(1 << 63);
    let (exponent, fraction) = ((bits >> 52) as i32, bits & ((1 << 52) - 1));
    if scale.is_nan() || count == 0 || bits == 0 {
        return 0;
    }
    if exponent == 0x7ff {
        return u64::MAX;
    }
    // fraction * 2^power, exactly; subnormal numbers have no hidden bit.
    let (fraction, power) = if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) };
    let (steps, power) = (u128::from(fraction) * u128::from(count), power + BITS as i32);
    let steps = match power {
        // Less than 2^85 before.
        1.. if power > 42 || steps >= 1 << 64 => return u64::MAX,
        1.. => steps << power,
        -100..=0 => (steps + (1u128 << -power) / 2) >> -power,
        _ => 0,
    };
    u64::try_from(steps).unwrap_or(u64::MAX)
}

/// e^-x in steps of 2^-63, within 2^-57, for x in steps of 2^-57; e^0 is 2^63.
///
/// ```
/// use zeropoint::fixedpoint::wide::{exp_of_minus, product};
/// let third = exp_of_minus(product(3, 0.125)) as f64 / (1u64 << 63) as f64;
/// assert!((third - (-0.375f64).exp()).abs() < 1e-15);
/// ```
pub fn exp_of_minus(x: u64) -> u64 {
    // Below 2^-64 from 45 on.
    if x >= 45 << BITS {
        return 0;
    }
    let quarter = 1u64 << (BITS - 2);
    // e^-r = 1 - r (1 - r/2 (1 - r/3 (...))), r below 1/4 in steps of 2^-63.
    let rest = (x & (quarter - 1)) << (63 - BITS);
    let mut result = (1..=14).rev().fold(1 << 63, |sum, n| (1 << 63) - times(rest, sum) / n);
    for (k, power) in POWERS.into_iter().enumerate() {
        if x & (quarter << k) != 0 {
            result = times(result, power);
        }
    }
    result
}

/// The integer nearest to `a / b`, ties away from zero; `b` is not 0.
pub(crate) const fn nearest(a: u128, b: u128) -> u128 {
    (2 * a + b) / (2 * b)
}
