//! tidecast-window
