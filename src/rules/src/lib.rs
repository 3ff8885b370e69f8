//! tidecast-rules
