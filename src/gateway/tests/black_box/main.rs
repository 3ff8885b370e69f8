//! The gateway from outside, over real sockets of loopback: a scenario a file.

#![allow(missing_docs)]

mod alerts_are_listed;
mod changes_are_audited;
mod clients_come_back;
mod clients_subscribe;
mod decoders_take_any_bytes;
mod events_come_by_http;
mod events_come_by_websocket;
mod health_and_metrics_answer;
mod house;
mod it_ends_in_order;
mod keys_are_published;
mod messages_are_compressed;
mod messages_are_described;
mod models_are_changed;
mod pages_are_served;
mod parameters_are_checked;
mod ports;
mod rules_are_changed;
mod sessions_are_shown;
mod slow_clients;
mod strangers_are_refused;
mod streams_of_aggregates;
mod tls_on_each_listener;
mod tokens_are_asked_for;
mod tokens_narrow_what_is_seen;
