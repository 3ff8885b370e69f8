//! tidecast-gateway
