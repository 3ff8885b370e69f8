//! tidecast-telemetry
