//! Against a real Kafka, whose address is in `TIDECAST_TEST_KAFKA`. Topics and groups are each test's own.

mod broker;
mod dead_letters;
mod ingest;
mod live;
mod operations;
mod ownerless;
mod publisher;
mod recorder;
mod source;
mod table;
