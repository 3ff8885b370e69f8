//! tidecast-store
