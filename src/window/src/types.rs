//! The type that a window's events share, if they do.

/// Types told apart in one partition at a time; a window with one more has none of its own.
pub(crate) const MAX_TYPES: usize = 65_000;

/// None yet, one (by number), or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(crate) struct TypeSeen(u16);

const NONE_YET: u16 = u16::MAX;
const SEVERAL: u16 = u16::MAX - 1;

impl Default for TypeSeen {
    fn default() -> Self {
        TypeSeen(NONE_YET)
    }
}

impl TypeSeen {
    /// Of one event; a number past [`MAX_TYPES`] stands for all of those.
    pub fn of(number: u32) -> Self {
        TypeSeen(if number as usize >= MAX_TYPES { SEVERAL } else { number as u16 })
    }

    #[inline]
    pub fn add(&mut self, other: TypeSeen) {
        if self.0 == NONE_YET {
            *self = other;
        } else if *self != other && other.0 != NONE_YET {
            self.0 = SEVERAL;
        }
    }

    /// The number, when it is one type.
    pub fn one(self) -> Option<u32> {
        (self.0 < SEVERAL).then_some(u32::from(self.0))
    }
}
