//! What the broker tells of topics that rdkafka has no safe call for: which topic it is, and what we may do with it.

use rdkafka::bindings as native;
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::RDKafkaRespErr;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::slice;
use std::time::Duration;

/// Topics by name, each with the id that the cluster gave it when it was made: another topic of the name has another.
pub(crate) type TopicIds = BTreeMap<String, u128>;

/// What we may do with a topic, as far as the broker tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights {
    pub read: bool,
    pub write: bool,
}

/// Asks for our rights on these topics; those that the broker does not tell (no such topic, no such question in its
/// version) are left out.
pub(crate) fn topic_rights<C: ClientContext>(
    client: &Client<C>,
    topics: &[String],
    within: Duration,
) -> Vec<(String, Rights)> {
    let mut told = Vec::new();
    // SAFETY: descriptions are live while this is called with them.
    describe(client, topics, true, within, |topic| told.extend(unsafe { rights(topic) }));
    told
}

/// Asks which topics of these names there are now; those that the broker does not tell are left out.
pub(crate) fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[String],
    within: Duration,
) -> TopicIds {
    let mut ids = TopicIds::new();
    // SAFETY: the client is alive. What is asked goes to the controller: where none is known (the embedded broker has none) the
    // question would wait for its whole time.
    if unsafe { native::rd_kafka_controllerid(client.native_ptr(), 0) } < 0 {
        return ids;
    }
    // SAFETY: descriptions are live while this is called with them.
    describe(client, topics, false, within, |topic| ids.extend(unsafe { id(topic) }));
    ids
}

/// Calls `each` with a live description of each topic.
fn describe<C: ClientContext>(
    client: &Client<C>,
    topics: &[String],
    with_rights: bool,
    within: Duration,
    mut each: impl FnMut(*const native::rd_kafka_TopicDescription_t),
) {
    let names: Vec<CString> = topics.iter().filter_map(|name| CString::new(name.as_str()).ok()).collect();
    if names.is_empty() {
        return;
    }
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let within_ms = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client outlives the call; every object made here is destroyed here, once, after its last use; names
    // outlive the collection made of them; what is read of the event's result is copied before the event goes.
    unsafe {
        let client = client.native_ptr();
        let options = native::rd_kafka_AdminOptions_new(
            client,
            native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        if with_rights {
            let refused = native::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
            if !refused.is_null() {
                native::rd_kafka_error_destroy(refused);
            }
        }
        let collection =
            native::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let queue = native::rd_kafka_queue_new(client);
        native::rd_kafka_DescribeTopics(client, collection, options, queue);
        let event = native::rd_kafka_queue_poll(queue, within_ms);
        if !event.is_null() {
            let result = native::rd_kafka_event_DescribeTopics_result(event);
            if !result.is_null() {
                let mut count = 0;
                let found = native::rd_kafka_DescribeTopics_result_topics(result, &mut count);
                for at in 0..count {
                    each(*found.add(at));
                }
            }
            native::rd_kafka_event_destroy(event);
        }
        native::rd_kafka_queue_destroy(queue);
        native::rd_kafka_TopicCollection_destroy(collection);
        native::rd_kafka_AdminOptions_destroy(options);
    }
}

/// # Safety
/// `topic` must be a live description.
unsafe fn name(topic: *const native::rd_kafka_TopicDescription_t) -> Option<String> {
    // SAFETY: by the caller's promise.
    unsafe {
        let error = native::rd_kafka_TopicDescription_error(topic);
        if !error.is_null()
            && native::rd_kafka_error_code(error) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return None;
        }
        Some(CStr::from_ptr(native::rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned())
    }
}

/// # Safety
/// `topic` must be a live description.
unsafe fn id(topic: *const native::rd_kafka_TopicDescription_t) -> Option<(String, u128)> {
    // SAFETY: by the caller's promise; the id is the description's.
    unsafe {
        let name = name(topic)?;
        let id = native::rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null() {
            return None;
        }
        let (most, least) = (
            native::rd_kafka_Uuid_most_significant_bits(id),
            native::rd_kafka_Uuid_least_significant_bits(id),
        );
        let id = u128::from(most.cast_unsigned()) << 64 | u128::from(least.cast_unsigned());
        // Brokers that know no ids say zero.
        (id != 0).then_some((name, id))
    }
}

/// # Safety
/// `topic` must be a live description.
unsafe fn rights(topic: *const native::rd_kafka_TopicDescription_t) -> Option<(String, Rights)> {
    use native::rd_kafka_AclOperation_t as Operation;
    // SAFETY: by the caller's promise; the operations are an array of `count` that the description owns.
    let (name, operations) = unsafe {
        let name = name(topic)?;
        let mut count = 0;
        let operations = native::rd_kafka_TopicDescription_authorized_operations(topic, &mut count);
        if operations.is_null() || count == 0 {
            return None;
        }
        (name, slice::from_raw_parts(operations, count))
    };
    let may =
        |wanted| operations.iter().any(|may| *may == wanted || *may == Operation::RD_KAFKA_ACL_OPERATION_ALL);
    let read = may(Operation::RD_KAFKA_ACL_OPERATION_READ);
    Some((name, Rights { read, write: may(Operation::RD_KAFKA_ACL_OPERATION_WRITE) }))
}
