//! tidecast-ports
