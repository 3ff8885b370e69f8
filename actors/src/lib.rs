//! tidecast-actors
