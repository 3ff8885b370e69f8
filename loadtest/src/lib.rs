//! tidecast-loadtest
