//! tidecast-mailbox
