//! A natural number of any length, with the few things that reading and writing a decimal needs.

/// Its 32-bit limbs, the lowest first, without zeros at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Big {
    limbs: Vec<u32>,
}

/// Bits of a quotient: 64 and some to round by.
const QUOTIENT_BITS: u32 = 70;

impl From<u128> for Big {
    fn from(number: u128) -> Self {
        let mut big = Self { limbs: (0..4).map(|limb| (number >> (32 * limb)) as u32).collect() };
        big.trim();
        big
    }
}

impl Big {
    pub(super) fn is_zero(&self) -> bool {
        self.limbs.is_empty()
    }

    /// Times `base`, plus `digit`.
    pub(super) fn push_digit(&mut self, digit: u32, base: u32) {
        let mut carry = u64::from(digit);
        for limb in &mut self.limbs {
            let product = u64::from(*limb) * u64::from(base) + carry;
            (*limb, carry) = (product as u32, product >> 32);
        }
        if carry > 0 {
            self.limbs.push(carry as u32);
        }
    }

    pub(super) fn times(&self, other: &Self) -> Self {
        let mut limbs = vec![0_u32; self.limbs.len() + other.limbs.len()];
        for (at, one) in self.limbs.iter().enumerate() {
            let mut carry = 0;
            for (offset, two) in other.limbs.iter().enumerate() {
                let sum = u64::from(*one) * u64::from(*two) + u64::from(limbs[at + offset]) + carry;
                (limbs[at + offset], carry) = (sum as u32, sum >> 32);
            }
            limbs[at + other.limbs.len()] = carry as u32;
        }
        let mut product = Self { limbs };
        product.trim();
        product
    }

    pub(super) fn shift_left(&mut self, by: u32) {
        if self.is_zero() {
            return;
        }
        let mut carry = 0;
        for limb in &mut self.limbs {
            let wide = (u64::from(*limb) << (by % 32)) | carry;
            (*limb, carry) = (wide as u32, wide >> 32);
        }
        if carry > 0 {
            self.limbs.push(carry as u32);
        }
        self.limbs.splice(0..0, core::iter::repeat_n(0, (by / 32) as usize));
    }

    /// The leading 127 bits or fewer, the last of which is set too if any bit behind it is; and their exponent.
    pub(super) fn leading_bits(&self) -> (u128, i32) {
        let from = self.limbs.len().saturating_sub(3);
        let top = self.limbs[from..].iter().rev().fold(0_u128, |top, limb| (top << 32) | u128::from(*limb));
        let rest = self.limbs[..from].iter().any(|limb| *limb != 0);
        ((top << 1) | u128::from(rest), from as i32 * 32 - 1)
    }

    /// The quotient's leading bits, the last of which is set too if there is a remainder; and their exponent.
    pub(super) fn divided(&self, by: &Self) -> (u128, i32) {
        let (mut rest, mut divisor) = (self.clone(), by.clone());
        // The quotient then begins with one of its first two bits.
        let shift = rest.bits() as i32 - divisor.bits() as i32;
        if shift >= 0 {
            divisor.shift_left(shift as u32)
        } else {
            rest.shift_left(shift.unsigned_abs())
        }
        let mut quotient = 0_u128;
        for _ in 0..QUOTIENT_BITS {
            quotient <<= 1;
            if rest.at_least(&divisor) {
                rest.subtract(&divisor);
                quotient |= 1;
            }
            rest.shift_left(1);
        }
        (quotient << 1 | u128::from(!rest.is_zero()), shift - QUOTIENT_BITS as i32)
    }

    /// Its decimal digits.
    pub(super) fn decimal(mut self) -> String {
        const NINE_DIGITS: u64 = 1_000_000_000;
        let mut groups = Vec::new();
        while !self.is_zero() {
            let mut rest = 0;
            for limb in self.limbs.iter_mut().rev() {
                let wide = (rest << 32) | u64::from(*limb);
                (*limb, rest) = ((wide / NINE_DIGITS) as u32, wide % NINE_DIGITS);
            }
            self.trim();
            groups.push(rest);
        }
        let Some(first) = groups.pop() else { return "0".into() };
        let mut digits = first.to_string();
        groups.iter().rev().for_each(|group| digits += &format!("{group:09}"));
        digits
    }

    fn bits(&self) -> usize {
        self.limbs.last().map_or(0, |top| self.limbs.len() * 32 - top.leading_zeros() as usize)
    }

    fn at_least(&self, other: &Self) -> bool {
        let by_length = self.limbs.len().cmp(&other.limbs.len());
        by_length.then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev())).is_ge()
    }

    /// `other` is not greater.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = 0;
        for (at, limb) in self.limbs.iter_mut().enumerate() {
            let taken = i64::from(*limb) - i64::from(other.limbs.get(at).copied().unwrap_or(0)) - borrow;
            *limb = taken as u32;
            borrow = i64::from(taken < 0);
        }
        self.trim();
    }

    fn trim(&mut self) {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }
}
