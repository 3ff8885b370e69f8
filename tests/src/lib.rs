//! tidecast-tests
