//! Partitions and the trees that a source feeds, wired the same way for what is ours and for what is only followed.

use std::sync::Arc;
use tidecast_actors::events_intake::EventsIntake;
use tidecast_actors::house::House;
use tidecast_actors::intake::Intake;
use tidecast_actors::partials_intake::PartialsIntake;
use tidecast_actors::repartition;
use tidecast_actors::standby::Standby;
use tidecast_actors::topology::{IntakeMaker, Topology, TopologyParts};
use tidecast_event::TopicPartition;
use tidecast_kafka::SourceControl;
use tidecast_mailbox::restart::Policy;
use tidecast_ports::SnapshotStore;

/// The trees of a source's partitions, which that source starts again. They take over from `standby`, or follow.
pub fn trees(
    house: &Arc<House>,
    control: &SourceControl,
    store: Arc<dyn SnapshotStore>,
    standby: Option<Arc<Standby>>,
    follows: bool,
) -> Topology {
    let topology = Topology::new(TopologyParts {
        house: house.clone(),
        intakes: intakes(house.clone()),
        store,
        runtime: tokio::runtime::Handle::current(),
        policy: Policy::default(),
        standby,
        follows,
    });
    let restart = control.clone();
    topology.connect(Arc::new(move |partition| restart.restart(partition.clone())));
    topology
}

/// Every partition of these topics.
pub fn partitions(
    house: &House,
    topics: impl IntoIterator<Item = impl AsRef<str>>,
) -> impl Iterator<Item = TopicPartition> {
    topics.into_iter().flat_map(move |topic| {
        let count = house.partitions_of(topic.as_ref());
        let topic: Arc<str> = topic.as_ref().into();
        (0..count).map(move |number| TopicPartition::new(topic.clone(), number))
    })
}

/// Makes what stands at the top of each partition's tree.
fn intakes(house: Arc<House>) -> IntakeMaker {
    Arc::new(move |partition, record| -> Result<Box<dyn Intake>, String> {
        match repartition::series_of(&house.settings, &partition.topic) {
            Some(series) => Ok(Box::new(PartialsIntake::new(&house, partition, series, record)?)),
            None => Ok(Box::new(EventsIntake::new(&house, partition, record)?)),
        }
    })
}
