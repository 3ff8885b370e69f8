//! tidecast-event
