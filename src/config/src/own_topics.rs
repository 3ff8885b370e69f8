//! Names of the topics that a group keeps for itself. Groups share a cluster, so each name begins with the group's.

use crate::series::SeriesSpec;

/// What a group keeps in compacted topics of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupTable {
    /// Registered models, by name.
    Models,
    /// Rules, by name.
    Rules,
    /// What gateways write down for each other.
    Notes,
}

impl GroupTable {
    /// All of them.
    pub const ALL: [GroupTable; 3] = [GroupTable::Models, GroupTable::Rules, GroupTable::Notes];

    /// What the name of its topic ends in, whatever the group.
    fn suffix(self) -> &'static str {
        match self {
            GroupTable::Models => "-models",
            GroupTable::Rules => "-rules",
            GroupTable::Notes => "-notes",
        }
    }

    /// The topic of this group's.
    pub fn topic(self, group_id: &str) -> String {
        format!("{group_id}{}", self.suffix())
    }

    /// The topics of this group's, in the order of [`GroupTable::ALL`].
    pub fn topics(group_id: &str) -> [String; 3] {
        GroupTable::ALL.map(|table| table.topic(group_id))
    }

    /// Which of them a topic is by the look of its name, as some group's.
    pub fn looks_like(topic: &str) -> Option<GroupTable> {
        GroupTable::ALL.into_iter().find(|table| topic.ends_with(table.suffix()))
    }
}

impl SeriesSpec {
    /// Whether it goes through a topic of its own, for it is grouped by something else than `source`, which is the key of
    /// the input's records by the contract.
    pub fn is_repartitioned(&self) -> bool {
        self.key != "source"
    }

    /// That topic. Only [repartitioned](SeriesSpec::is_repartitioned) series have one.
    pub fn repartition_topic(&self, group_id: &str) -> String {
        format!("{group_id}-{}-repartition", self.name)
    }
}
