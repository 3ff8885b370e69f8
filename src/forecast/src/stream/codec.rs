//! A stream model as bytes: a version byte, then its record. Restoring gives the same bits.

use super::StreamModel;

/// Version of the record; a reader refuses any other.
const VERSION: u8 = 4;
/// The same without [`StreamModel::before`], which is read too.
const WITHOUT_BEFORE: u8 = 3;
/// Most bytes a record may claim: far above any model, far below what would hurt.
const BYTES_MAX: usize = 64 << 20;

/// Bytes that are no stream model of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("a model's record is empty: discard it and train the model again")]
    Empty,
    /// Written by another version.
    #[error("a model's record has version {found} and this build reads {VERSION}: train the model again")]
    Version {
        /// The version byte found.
        found: u8,
    },
    /// Damaged.
    #[error("a model's record is damaged ({0}): discard it and train the model again")]
    Damaged(String),
}

impl StreamModel {
    /// The whole state.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let config = bincode::config::standard();
        bincode::serde::encode_into_std_write(self, &mut bytes, config)
            .and_then(|_| bincode::serde::encode_into_std_write(&self.before, &mut bytes, config))
            .expect("a Vec takes every byte and every field can be encoded");
        bytes
    }

    /// The model that [`StreamModel::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<StreamModel, DecodeError> {
        let (&version, record) = bytes.split_first().ok_or(DecodeError::Empty)?;
        if ![VERSION, WITHOUT_BEFORE].contains(&version) {
            return Err(DecodeError::Version { found: version });
        }
        let config = bincode::config::standard().with_limit::<BYTES_MAX>();
        let damaged = |error: bincode::error::DecodeError| DecodeError::Damaged(error.to_string());
        let (mut model, mut read) =
            bincode::serde::decode_from_slice::<StreamModel, _>(record, config).map_err(damaged)?;
        if version == VERSION {
            let (before, more) =
                bincode::serde::decode_from_slice(&record[read..], config).map_err(damaged)?;
            model.before = before;
            read += more;
        }
        let whole = read == record.len() && model.is_consistent();
        if whole { Ok(model) } else { Err(DecodeError::Damaged("its parts disagree".into())) }
    }

    /// Whether what was read could have been written: a damaged record must not panic later.
    fn is_consistent(&self) -> bool {
        let since = self.asked.map_or(0, |asked| self.observations.saturating_sub(asked.after));
        self.asked.is_none_or(|asked| asked.after <= self.observations)
            && since <= self.recent.len() as u64
            && self.recent.len() as u64 <= self.observations
            && self.level > 0.0
            && self.level < 1.0
            && self.exogenous.is_consistent(self.recent.len())
            && self.conformal.is_consistent()
            && self.before.is_consistent(&self.conformal)
            && (1..=10_000).contains(&self.horizon)
    }
}
