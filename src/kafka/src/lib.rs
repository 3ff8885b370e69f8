//! tidecast-kafka
