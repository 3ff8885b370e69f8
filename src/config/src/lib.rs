//! tidecast-config
