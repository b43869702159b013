//! The number of INCRBYFLOAT: 64 bits of mantissa, as the x87 has them, because Redis adds `long double`s.
//!
//! Rust has no such type, and with 53 bits `0.1 + 0.2` would read `0.30000000000000004`. So decimal text is read,
//! added and written here, each rounded once to the nearest, ties to even (IEEE 754, "double extended"). The one hard
//! thing is that texts may be 5,119 digits long, or stand for 2^16383: then the digits are kept as a [`Big`].

#![allow(missing_docs, reason = "the derive writes types beside ours, without docs for their fields")]

mod big;

use big::Big;
use rkyv::{Archive, Deserialize, Serialize};

/// A finite number, or what is beyond all numbers.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Extended {
    negative: bool,
    /// The leading bit is set, but for zero; its unit is 2^`exponent`.
    mantissa: u64,
    exponent: i32,
    infinite: bool,
}

/// Bytes that a text may have; Redis takes no more.
const TEXT_MAX: usize = 5119;
/// Numbers from 2^16384 on are infinite.
const TOP_MAX: i32 = 16_384;
/// Numbers under 2^-16446 are no longer told from 0.
const TOP_MIN: i32 = -16_446;
/// An exponent beyond this decides alone, whatever the digits: they are at most `TEXT_MAX`.
const POWER_MAX: i64 = 20_000;
/// Digits behind the point that are written.
const DIGITS: u32 = 17;

impl Extended {
    const ZERO: Self = Self { negative: false, mantissa: 0, exponent: 0, infinite: false };

    /// The number that a text is, in decimal or as `0x` and hexadecimal digits, or `inf`. None for any other text,
    /// for one out of range, and for one that is too small to be told from 0 but is not 0.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
            return Some(Self { negative, infinite: true, ..Self::ZERO });
        }
        let magnitude = match rest {
            [b'0', b'x' | b'X', digits @ ..] => hexadecimal(digits)?,
            digits => decimal(digits)?,
        };
        Some(Self { negative, ..magnitude })
    }

    /// The sum. None when it is not a finite number.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        if self.infinite || other.infinite {
            return None;
        }
        if self.mantissa == 0 || other.mantissa == 0 {
            let negative = self.negative && other.negative;
            return Some(match (self.mantissa, other.mantissa) {
                (0, 0) => Self { negative, ..Self::ZERO },
                (0, _) => other,
                (_, _) => self,
            });
        }
        // Both leading bits are set, so the one with the higher exponent is the greater; 62 bits below take what the
        // other one's places need, and the last of them stands for all that is lower still.
        let (high, low) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        let above = u128::from(high.mantissa) << 62;
        let below = shifted_right(u128::from(low.mantissa) << 62, (high.exponent - low.exponent) as u32);
        let exponent = high.exponent - 62;
        let (negative, sum) = if high.negative == low.negative {
            (high.negative, above + below)
        } else if above >= below {
            (high.negative, above - below)
        } else {
            (low.negative, below - above)
        };
        if sum == 0 {
            return Some(Self::ZERO);
        }
        Self::rounded(sum, exponent).map(|number| Self { negative, ..number })
    }

    /// As Redis writes it: 17 digits behind the point, less the zeros at the end; never an exponent.
    #[must_use]
    pub fn text(self) -> String {
        let sign = if self.negative && (self.mantissa != 0 || self.infinite) { "-" } else { "" };
        if self.infinite {
            return format!("{sign}inf");
        }
        if self.exponent >= 0 {
            let mut whole = Big::from(u128::from(self.mantissa));
            whole.shift_left(self.exponent as u32);
            return format!("{sign}{}", whole.decimal());
        }
        // Under 2^121, and so exact.
        let scaled = u128::from(self.mantissa) * 10_u128.pow(DIGITS);
        let rounded = rounded_right(scaled, self.exponent.unsigned_abs());
        let digits = format!("{rounded:0>width$}", width = DIGITS as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - DIGITS as usize);
        let fraction = fraction.trim_end_matches('0');
        match (whole, fraction) {
            ("0", "") => "0".into(),
            (whole, "") => format!("{sign}{whole}"),
            (whole, fraction) => format!("{sign}{whole}.{fraction}"),
        }
    }

    /// The nearest number to `bits` times 2^`exponent`; the last bit may stand for lower ones that were cut off.
    /// None when it is out of range. `bits` is not 0.
    fn rounded(bits: u128, exponent: i32) -> Option<Self> {
        let length = 128 - bits.leading_zeros() as i32;
        let (mantissa, exponent) = if length <= 64 {
            ((bits as u64) << (64 - length), exponent - (64 - length))
        } else {
            let cut = (length - 64) as u32;
            let rounded = rounded_right(bits, cut);
            match u64::try_from(rounded) {
                Ok(mantissa) => (mantissa, exponent + cut as i32),
                // It went up to the next power of two.
                Err(_) => (1 << 63, exponent + cut as i32 + 1),
            }
        };
        let top = exponent + 64;
        (top <= TOP_MAX && top > TOP_MIN).then_some(Self {
            negative: false,
            mantissa,
            exponent,
            infinite: false,
        })
    }
}

/// Shifts right; what falls out is remembered in the last bit.
fn shifted_right(bits: u128, by: u32) -> u128 {
    if by >= 127 {
        return u128::from(bits != 0);
    }
    let fell = bits & ((1 << by) - 1);
    (bits >> by) | u128::from(fell != 0)
}

/// Shifts right to the nearest, ties to even.
fn rounded_right(bits: u128, by: u32) -> u128 {
    if by == 0 {
        return bits;
    }
    if by > 127 {
        return 0;
    }
    let (whole, fell, half) = (bits >> by, bits & ((1 << by) - 1), 1 << (by - 1));
    whole + u128::from(fell > half || (fell == half && whole & 1 == 1))
}

/// Digits around a point and the exponent behind them; none when the text has another shape.
struct Parts<'a> {
    whole: &'a [u8],
    fraction: &'a [u8],
    power: i64,
}

fn parts(text: &[u8], is_digit: fn(&u8) -> bool, mark: u8) -> Option<Parts<'_>> {
    let run = |text: &[u8]| text.iter().take_while(|byte| is_digit(byte)).count();
    let (whole, rest) = text.split_at(run(text));
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => rest.split_at(run(rest)),
        rest => (&rest[..0], rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let power = match rest {
        [] => 0,
        [letter, digits @ ..] if letter.eq_ignore_ascii_case(&mark) => power(digits)?,
        _ => return None,
    };
    Some(Parts { whole, fraction, power })
}

/// An exponent; one beyond all range is told as `POWER_MAX` times two.
fn power(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let power =
        digits.iter().fold(0_i64, |power, digit| (power * 10 + i64::from(digit - b'0')).min(POWER_MAX * 2));
    Some(if negative { -power } else { power })
}

fn decimal(text: &[u8]) -> Option<Extended> {
    let Parts { whole, fraction, power } = parts(text, u8::is_ascii_digit, b'e')?;
    let mut digits = Big::default();
    whole.iter().chain(fraction).for_each(|digit| digits.push_digit(u32::from(digit - b'0'), 10));
    if digits.is_zero() {
        return Some(Extended::ZERO);
    }
    let power = power - fraction.len() as i64;
    if power.abs() > POWER_MAX {
        return None;
    }
    let mut scale = Big::from(1);
    for _ in 0..power.abs() {
        scale.push_digit(0, 10);
    }
    if power >= 0 {
        let (bits, exponent) = digits.times(&scale).leading_bits();
        return Extended::rounded(bits, exponent);
    }
    let (bits, exponent) = digits.divided(&scale);
    Extended::rounded(bits, exponent)
}

fn hexadecimal(text: &[u8]) -> Option<Extended> {
    let Parts { whole, fraction, power } = parts(text, u8::is_ascii_hexdigit, b'p')?;
    let mut digits = Big::default();
    for byte in whole.iter().chain(fraction) {
        digits.push_digit(char::from(*byte).to_digit(16)?, 16);
    }
    if digits.is_zero() {
        return Some(Extended::ZERO);
    }
    let (bits, exponent) = digits.leading_bits();
    let exponent = i64::from(exponent) + power - 4 * fraction.len() as i64;
    Extended::rounded(bits, i32::try_from(exponent).ok()?)
}

#[cfg(test)]
mod tests;
