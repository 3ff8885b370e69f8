//! Numbers: checked and read in one go.

use super::Scanner;
use crate::decode::fault::Fault;

impl Scanner<'_> {
    /// A number; the scanner stands on its sign or first digit. Digits are gathered on the way: up to 2^53 and 10^±22
    /// one multiplication or division is exact, the rest goes to the standard library's parser.
    #[inline(always)]
    pub(super) fn number(&mut self) -> Result<f64, Fault> {
        let start = self.pos;
        let negative = self.peek() == b'-';
        if negative {
            self.pos += 1;
        }
        let first = self.pos;
        let mut mantissa: u64 = 0;
        while self.peek().is_ascii_digit() {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(self.peek() - b'0'));
            self.pos += 1;
        }
        let mut digits = self.pos - first;
        if digits == 0 || (digits > 1 && self.bytes[first] == b'0') {
            return self.broken_number(start, digits);
        }
        let mut exponent: i64 = 0;
        if self.peek() == b'.' {
            self.pos += 1;
            let first = self.pos;
            while self.peek().is_ascii_digit() {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(self.peek() - b'0'));
                self.pos += 1;
            }
            let decimals = self.pos - first;
            if decimals == 0 {
                return self.invalid("expected a digit after the decimal point");
            }
            digits += decimals;
            exponent = -(decimals as i64);
        }
        if self.peek() | 0x20 == b'e' {
            exponent += self.exponent()?;
        }
        if digits <= 19 && mantissa <= 1 << 53 && (-22..=22).contains(&exponent) {
            let whole = mantissa as f64;
            let power = POWERS_OF_TEN[exponent.unsigned_abs() as usize];
            let value = if exponent < 0 { whole / power } else { whole * power };
            return Ok(if negative { -value } else { value });
        }
        Ok(self.long_number(start))
    }

    #[cold]
    fn broken_number(&mut self, start: usize, digits: usize) -> Result<f64, Fault> {
        if digits == 0 && self.bytes[self.pos..].starts_with(b"Infinity") {
            self.pos += 8;
            self.not_finite.get_or_insert(start);
            return Ok(0.0);
        }
        self.invalid(if digits == 0 {
            "expected a digit after the sign"
        } else {
            "a number begins with a zero too many"
        })
    }

    fn exponent(&mut self) -> Result<i64, Fault> {
        self.pos += 1;
        let negative = self.peek() == b'-';
        if negative || self.peek() == b'+' {
            self.pos += 1;
        }
        let first = self.pos;
        let mut value: i64 = 0;
        while self.peek().is_ascii_digit() {
            value = (value * 10 + i64::from(self.peek() - b'0')).min(1 << 40);
            self.pos += 1;
        }
        if self.pos == first {
            return self.invalid("expected a digit in the exponent");
        }
        Ok(if negative { -value } else { value })
    }

    #[cold]
    fn long_number(&mut self, start: usize) -> f64 {
        let value: f64 = self.text[start..self.pos].parse().unwrap_or(f64::INFINITY);
        if value.is_finite() {
            return value;
        }
        self.not_finite.get_or_insert(start);
        0.0
    }
}

/// 10^0 to 10^22: the powers of ten that a double holds exactly.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
