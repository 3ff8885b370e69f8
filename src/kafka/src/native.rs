//! The only unsafe code of the house: batches out of a partition's own queue, and a few things that rdkafka has no safe
//! call for.

#![allow(unsafe_code)]

mod topics;

pub(crate) use topics::{TopicIds, topic_ids, topic_rights};

use crate::wakeup::Wakeup;
use rdkafka::bindings as native;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidecast_event::TopicPartition;
use tidecast_ports::{RecordBatch, RecordMeta, Wake};

/// Length of a W3C `traceparent`.
const TRACEPARENT_BYTES: usize = 55;

/// Set by librdkafka's threads when the queue stops being empty.
struct Signal {
    ready: AtomicBool,
    wakeup: Arc<Wakeup>,
}

/// What a drain met beside records.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    /// Messages taken off the queue, errors included.
    pub messages: usize,
    /// The partition failed: code and words.
    pub error: Option<(RDKafkaErrorCode, String)>,
    /// Leader epoch of the last record, -1 when not known.
    pub leader_epoch: i32,
}

/// The fetch queue of one partition, cut off from the consumer's main queue, so that it can be left alone while its
/// reader has no room.
pub(crate) struct PartitionQueue<C: ConsumerContext + 'static> {
    queue: *mut native::rd_kafka_queue_t,
    topic: CString,
    partition: i32,
    signal: Arc<Signal>,
    /// Keeps the client alive: a queue must not outlive it. Dropped after the queue, for fields drop after `drop`.
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues may be used from any thread; the raw pointer is owned by this value alone, and `signal`
// and `consumer` are `Send` themselves.
unsafe impl<C: ConsumerContext + 'static> Send for PartitionQueue<C> {}

/// Room for the pointers of one drain, used again and again.
pub(crate) struct Scratch(Vec<*mut native::rd_kafka_message_t>);

// SAFETY: the vector is empty between two drains: it never carries a pointer from one thread to another.
unsafe impl Send for Scratch {}

impl Scratch {
    /// For up to `records` at once.
    pub fn new(records: usize) -> Self {
        Scratch(Vec::with_capacity(records))
    }
}

unsafe extern "C" fn queue_has_become_nonempty(_client: *mut native::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: `opaque` is the `Signal` that the `PartitionQueue` keeps until the callback is switched off; librdkafka
    // calls with the queue's lock held and switches off under the same lock, so no call outlives it.
    let signal = unsafe { &*opaque.cast::<Signal>() };
    signal.ready.store(true, Ordering::Release);
    signal.wakeup.wake();
}

impl<C: ConsumerContext + 'static> PartitionQueue<C> {
    /// Cuts the partition's queue off the consumer's. To be called before the partition is assigned: from then on its
    /// records come through [`PartitionQueue::drain`] only. `None` for a topic name that cannot be.
    pub fn split(
        consumer: &Arc<BaseConsumer<C>>,
        partition: &TopicPartition,
        wakeup: &Arc<Wakeup>,
    ) -> Option<Self> {
        let topic = CString::new(&*partition.topic).ok()?;
        let signal = Arc::new(Signal { ready: AtomicBool::new(true), wakeup: Arc::clone(wakeup) });
        // SAFETY: the client lives as long as `consumer`; the topic is a C string that outlives the call. The queue's
        // reference is ours until `drop`. A null destination ends the forwarding to the consumer's queue. The
        // callback's opaque pointer stays valid, for this value owns the `Arc` and switches the callback off in `drop`.
        unsafe {
            let client = consumer.client().native_ptr();
            let queue = native::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition.partition);
            if queue.is_null() {
                return None;
            }
            native::rd_kafka_queue_forward(queue, ptr::null_mut());
            native::rd_kafka_queue_cb_event_enable(
                queue,
                Some(queue_has_become_nonempty),
                Arc::as_ptr(&signal).cast_mut().cast(),
            );
            Some(PartitionQueue {
                queue,
                topic,
                partition: partition.partition,
                signal,
                consumer: Arc::clone(consumer),
            })
        }
    }

    /// Whether something may be waiting.
    pub fn ready(&self) -> bool {
        self.signal.ready.load(Ordering::Acquire)
    }

    /// Moves what waits, up to the scratch's size, into the batch: one copy, keys and values into its arena. Records
    /// before `from` are dropped (a compressed batch begins before the offset asked for). Never waits.
    pub fn drain(
        &self,
        scratch: &mut Scratch,
        batch: &mut RecordBatch,
        from: i64,
        traceparent: bool,
    ) -> Drained {
        // Before the drain, so that what arrives during it is not forgotten.
        self.signal.ready.store(false, Ordering::Release);
        let mut drained = Drained { leader_epoch: -1, ..Drained::default() };
        // SAFETY: the scratch has room for `capacity` pointers; librdkafka writes `count` of them and gives us the
        // messages, each of which is read and then destroyed once, below.
        let messages = unsafe {
            let count = native::rd_kafka_consume_batch_queue(
                self.queue,
                0,
                scratch.0.as_mut_ptr(),
                scratch.0.capacity(),
            );
            scratch.0.set_len(usize::try_from(count).unwrap_or(0));
            &mut scratch.0
        };
        drained.messages = messages.len();
        if drained.messages > 0 {
            // More may be waiting: only an empty drain proves that nothing is.
            self.signal.ready.store(true, Ordering::Release);
        }
        for &message in messages.iter() {
            // SAFETY: a message from the call above, not yet destroyed, ours alone.
            unsafe {
                take(message, batch, from, traceparent, &mut drained);
                native::rd_kafka_message_destroy(message);
            }
        }
        messages.clear();
        if let Some(last) = batch.records.last() {
            batch.next_offset = last.offset + 1;
        }
        batch.high_watermark = self.high_watermark();
        drained
    }

    /// The offset after the last record or marker taken off the queue, `None` before the first.
    pub fn position(&self) -> Option<i64> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.topic.to_string_lossy(), self.partition);
        // SAFETY: client and list outlive the call, which fills the list's offset from local memory.
        unsafe {
            let error = native::rd_kafka_position(self.consumer.client().native_ptr(), list.ptr());
            if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            let element =
                native::rd_kafka_topic_partition_list_find(list.ptr(), self.topic.as_ptr(), self.partition);
            element.as_ref().map(|element| element.offset).filter(|offset| *offset >= 0)
        }
    }

    /// The newest high watermark that a fetch brought, -1 when none did.
    pub fn high_watermark(&self) -> i64 {
        let (mut low, mut high) = (-1, -1);
        // SAFETY: client and topic outlive the call, which fills the two numbers from local memory.
        let error = unsafe {
            native::rd_kafka_get_watermark_offsets(
                self.consumer.client().native_ptr(),
                self.topic.as_ptr(),
                self.partition,
                &mut low,
                &mut high,
            )
        };
        if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0 { high } else { -1 }
    }
}

impl<C: ConsumerContext + 'static> Drop for PartitionQueue<C> {
    fn drop(&mut self) {
        // SAFETY: the queue's reference is ours; after the first call no callback uses `signal` any more.
        unsafe {
            native::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            native::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// A producer whose user serves its reports on a thread of its own, and sleeps until there are some: the client's own
/// call spins through the last millisecond of each wait.
pub(crate) struct ReportingProducer<C: ProducerContext + 'static> {
    queue: *mut native::rd_kafka_queue_t,
    signal: Arc<Signal>,
    /// Outlives the queue, for fields drop after `drop`.
    producer: BaseProducer<C>,
}

// SAFETY: librdkafka's queues may be used from any thread; the raw pointer is owned by this value alone, and `signal`
// and `producer` are `Send` themselves.
unsafe impl<C: ProducerContext + 'static> Send for ReportingProducer<C> {}

impl<C: ProducerContext + 'static> ReportingProducer<C> {
    /// Takes over the producer. The current thread is the one that is woken.
    pub fn new(producer: BaseProducer<C>) -> Self {
        let wakeup = Arc::new(Wakeup::default());
        wakeup.register();
        let signal = Arc::new(Signal { ready: AtomicBool::new(true), wakeup });
        // SAFETY: the client lives as long as `producer`; the queue's reference is ours until `drop`. The callback's
        // opaque pointer stays valid, for this value owns the `Arc` and switches the callback off in `drop`.
        let queue = unsafe {
            let queue = native::rd_kafka_queue_get_main(producer.client().native_ptr());
            native::rd_kafka_queue_cb_event_enable(
                queue,
                Some(queue_has_become_nonempty),
                Arc::as_ptr(&signal).cast_mut().cast(),
            );
            queue
        };
        ReportingProducer { queue, signal, producer }
    }

    /// Has `wake` called when there are reports, by a thread of the client's own.
    pub fn wake_with(&self, wake: Wake) {
        self.signal.wakeup.call(wake);
    }

    /// Serves the reports that are there. Never waits.
    pub fn serve(&self) {
        self.signal.ready.store(false, Ordering::Release);
        // SAFETY: the queue's reference is ours.
        while unsafe { native::rd_kafka_queue_length(self.queue) } > 0 {
            self.producer.poll(Duration::ZERO);
        }
    }

    /// Serves the reports that come first, or none within the timeout.
    pub fn serve_next(&self, timeout: Duration) {
        if !self.signal.ready.load(Ordering::Acquire) {
            // A thread that did not make this value is not woken: it looks again soon enough.
            self.signal.wakeup.wait(timeout.min(Duration::from_millis(50)));
        }
        self.serve();
    }
}

impl<C: ProducerContext + 'static> std::ops::Deref for ReportingProducer<C> {
    type Target = BaseProducer<C>;

    fn deref(&self) -> &BaseProducer<C> {
        &self.producer
    }
}

impl<C: ProducerContext + 'static> Drop for ReportingProducer<C> {
    fn drop(&mut self) {
        // SAFETY: the queue's reference is ours; after the first call no callback uses `signal` any more.
        unsafe {
            native::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            native::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// Copies one message into the batch.
///
/// # Safety
/// `message` must be a live message of a consume call.
unsafe fn take(
    message: *mut native::rd_kafka_message_t,
    batch: &mut RecordBatch,
    from: i64,
    traceparent: bool,
    drained: &mut Drained,
) {
    // SAFETY: by the caller's promise.
    let m = unsafe { &*message };
    if m.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        // SAFETY: librdkafka keeps a C string with the message, or gives the code's own.
        let words = unsafe { CStr::from_ptr(native::rd_kafka_message_errstr(message)) };
        drained.error = Some((m.err.into(), words.to_string_lossy().into_owned()));
        return;
    }
    if m.offset < from {
        return;
    }
    let mut timestamp_type = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: a live message; the type is written, the epoch read from it.
    let timestamp_ms = unsafe { native::rd_kafka_message_timestamp(message, &mut timestamp_type) }.max(0);
    // SAFETY: as above.
    drained.leader_epoch = unsafe { native::rd_kafka_message_leader_epoch(message) };
    // SAFETY: key and payload point to that many bytes while the message lives, or are null.
    let (key, value) = unsafe { (bytes(m.key, m.key_len), bytes(m.payload, m.len)) };
    let arena = &mut batch.arena;
    let key_start = place(arena);
    arena.extend_from_slice(key.unwrap_or_default());
    let value_start = place(arena);
    arena.extend_from_slice(value.unwrap_or_default());
    let value_end = place(arena);
    let mut traceparent_start = 0;
    if traceparent {
        // SAFETY: a live message.
        if let Some(header) = unsafe { header(message, c"traceparent") }
            && header.len() == TRACEPARENT_BYTES
            && value_end > 0
        {
            traceparent_start = value_end;
            arena.extend_from_slice(header);
        }
    }
    batch.records.push(RecordMeta {
        offset: m.offset,
        timestamp_ms,
        key_start,
        value_start,
        value_end,
        key_is_null: key.is_none(),
        value_is_null: value.is_none(),
        traceparent_start,
    });
}

fn place(arena: &[u8]) -> u32 {
    u32::try_from(arena.len()).expect("a queue bounded to megabytes does not give four gigabytes at once")
}

/// # Safety
/// `start` must be null or point to `length` bytes that live as long as `'m`.
unsafe fn bytes<'m>(start: *mut c_void, length: usize) -> Option<&'m [u8]> {
    // SAFETY: by the caller's promise.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), length) })
}

/// The last header of that name.
///
/// # Safety
/// `message` must be a live message, and the bytes must not be kept past it.
unsafe fn header<'m>(message: *mut native::rd_kafka_message_t, name: &CStr) -> Option<&'m [u8]> {
    let mut headers = ptr::null_mut();
    let (mut value, mut size) = (ptr::null(), 0);
    // SAFETY: a live message owns its headers; the value points into them.
    unsafe {
        if native::rd_kafka_message_headers(message, &mut headers)
            != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return None;
        }
        let found = native::rd_kafka_header_get_last(headers, name.as_ptr(), &mut value, &mut size);
        if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        bytes(value.cast_mut(), size)
    }
}

/// Writes the leader epoch beside a partition's offset, so that a commit made after a truncated log is noticed.
pub(crate) fn set_leader_epoch(list: &TopicPartitionList, partition: &TopicPartition, epoch: i32) {
    let Ok(topic) = CString::new(&*partition.topic) else { return };
    // SAFETY: the list is alive and ours; the element found belongs to it.
    unsafe {
        let element =
            native::rd_kafka_topic_partition_list_find(list.ptr(), topic.as_ptr(), partition.partition);
        if !element.is_null() {
            native::rd_kafka_topic_partition_set_leader_epoch(element, epoch);
        }
    }
}

/// The generation of the consumer's group that it knows, `None` outside any.
pub(crate) fn generation<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<i32> {
    // SAFETY: the consumer is alive; what is made here is read and destroyed here.
    unsafe {
        let metadata = native::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return None;
        }
        let generation = native::rd_kafka_consumer_group_metadata_generation_id(metadata);
        native::rd_kafka_consumer_group_metadata_destroy(metadata);
        Some(generation)
    }
}

/// What the brokers call this member of its group, `None` outside any.
pub(crate) fn member_id<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<String> {
    let client = consumer.client().native_ptr();
    // SAFETY: the consumer is alive; the text is copied, and freed as the library asks.
    unsafe {
        let id = native::rd_kafka_memberid(client);
        if id.is_null() {
            return None;
        }
        let copy = std::ffi::CStr::from_ptr(id).to_str().ok().map(str::to_owned);
        native::rd_kafka_mem_free(client, id.cast());
        copy.filter(|id| !id.is_empty())
    }
}

/// Ends the three seconds that a mock cluster waits for more members of a new group: there will be one.
pub(crate) fn join_groups_at_once<C: ClientContext>(host: &Client<C>) {
    // SAFETY: the client is alive, and so is its mock cluster, if it has one.
    unsafe {
        let cluster = native::rd_kafka_handle_mock_cluster(host.native_ptr());
        if !cluster.is_null() {
            native::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
        }
    }
}

/// Microseconds from produce to acknowledgement of a delivered message, `None` when not known.
pub(crate) fn latency_micros(message: &BorrowedMessage<'_>) -> Option<u64> {
    // SAFETY: the borrow keeps the message alive.
    let latency = unsafe { native::rd_kafka_message_latency(message.ptr()) };
    u64::try_from(latency).ok()
}
