//! Orders that wait, by whom they are for: a target that does not answer holds up its own orders and nobody else's.

use std::collections::{BTreeMap, HashMap};
use tidecast_event::Priority;
use tidecast_rules::Action;

/// Orders for one target that are carried out at the same time.
const AT_ONCE: usize = 2;
/// One target's share of the places, as a divisor: past it its own orders make room, not those of others.
const SHARE: usize = 4;

/// Whom an order is for: whoever is slow is slow for all of these.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// `host:port` of a webhook, Slack's included.
    Web(String),
    /// The mail server.
    Mail,
    /// The folder of saved events.
    Files,
}

impl Target {
    /// Of an action.
    pub fn of(action: &Action) -> Target {
        match action {
            Action::Webhook { url, .. } | Action::SlackNotify { url, .. } => {
                let parsed = reqwest::Url::parse(url.expose()).ok();
                let host_and_port = parsed.as_ref().and_then(|url| {
                    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default().unwrap_or(0)))
                });
                // What is no address fails at once, whatever it is counted as.
                Target::Web(host_and_port.unwrap_or_default())
            }
            Action::SendAlert { .. } => Target::Mail,
            _ => Target::Files,
        }
    }
}

/// The most urgent first, and what came first of these: the least is next.
type Place = (std::cmp::Reverse<Priority>, u64);

#[derive(Debug)]
struct Waiting<T> {
    orders: BTreeMap<Place, T>,
    under_way: usize,
}

/// A bounded line with a bound for each target.
#[derive(Debug)]
pub struct Line<T> {
    /// Only targets with something waiting or under way.
    targets: HashMap<Target, Waiting<T>>,
    waiting: usize,
    capacity: usize,
    came: u64,
}

impl<T> Line<T> {
    /// Holds at most `capacity` orders.
    pub fn new(capacity: usize) -> Self {
        Line { targets: HashMap::new(), waiting: 0, capacity, came: 0 }
    }

    /// Orders that wait.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Takes an order in. When there is no room the newest of the least urgent is given back, which may be this one: of
    /// the same target when that has its share, else of all.
    pub fn push(&mut self, target: Target, priority: Priority, order: T) -> Option<T> {
        self.came += 1;
        let place = (std::cmp::Reverse(priority), self.came);
        let waiting =
            self.targets.entry(target).or_insert_with(|| Waiting { orders: BTreeMap::new(), under_way: 0 });
        waiting.orders.insert(place, order);
        self.waiting += 1;
        if waiting.orders.len() > (self.capacity / SHARE).max(1) {
            self.waiting -= 1;
            return waiting.orders.pop_last().map(|(_, order)| order);
        }
        if self.waiting <= self.capacity {
            return None;
        }
        let last = |waiting: &Waiting<T>| waiting.orders.last_key_value().map(|(place, _)| *place);
        let (target, _) = self.targets.iter().max_by_key(|(_, waiting)| last(waiting))?;
        let target = target.clone();
        let displaced = self.targets.get_mut(&target)?.orders.pop_last();
        self.waiting -= 1;
        self.forget_if_idle(&target);
        displaced.map(|(_, order)| order)
    }

    /// The next order of a target that has a hand free. [`Line::done`] has to follow.
    pub fn pop(&mut self) -> Option<(Target, T)> {
        let free = self.targets.iter().filter(|(_, waiting)| waiting.under_way < AT_ONCE);
        let first = free.filter_map(|(target, waiting)| Some((*waiting.orders.first_key_value()?.0, target)));
        let target = first.min_by_key(|(place, _)| *place)?.1.clone();
        let waiting = self.targets.get_mut(&target)?;
        let (_, order) = waiting.orders.pop_first()?;
        waiting.under_way += 1;
        self.waiting -= 1;
        Some((target, order))
    }

    /// Nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.targets.is_empty()
    }

    /// Takes all orders that wait out of the line.
    pub fn clear(&mut self) -> Vec<T> {
        self.waiting = 0;
        let orders = |waiting: &mut Waiting<T>| std::mem::take(&mut waiting.orders).into_values();
        let cleared = self.targets.values_mut().flat_map(orders).collect();
        self.targets.retain(|_, waiting| waiting.under_way > 0);
        cleared
    }

    /// An order that was taken is done with.
    pub fn done(&mut self, target: &Target) {
        if let Some(waiting) = self.targets.get_mut(target) {
            waiting.under_way -= 1;
        }
        self.forget_if_idle(target);
    }

    fn forget_if_idle(&mut self, target: &Target) {
        if self.targets.get(target).is_some_and(|waiting| waiting.orders.is_empty() && waiting.under_way == 0)
        {
            self.targets.remove(target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web(name: &str) -> Target {
        Target::Web(name.to_owned())
    }

    #[test]
    fn a_slow_target_holds_up_nobody_else() {
        let mut line = Line::new(100);
        for number in 0..20 {
            assert_eq!(line.push(web("dead"), Priority::Critical, number), None);
        }
        assert_eq!(line.push(web("well"), Priority::Low, 100), None);
        assert_eq!(line.pop(), Some((web("dead"), 0)));
        assert_eq!(line.pop(), Some((web("dead"), 1)));
        assert_eq!(line.pop(), Some((web("well"), 100)), "the dead one has what it gets");
        assert_eq!(line.pop(), None);
        line.done(&web("dead"));
        assert_eq!(line.pop(), Some((web("dead"), 2)));
        line.done(&web("well"));
        assert_eq!((line.len(), line.targets.len()), (17, 1), "who has nothing is forgotten");
    }

    #[test]
    fn the_most_urgent_goes_first_and_the_newest_of_the_least_makes_room() {
        let mut line = Line::new(8);
        // Two places are a target's share.
        assert_eq!(line.push(web("a"), Priority::Low, "a1"), None);
        assert_eq!(line.push(web("a"), Priority::High, "a2"), None);
        assert_eq!(line.push(web("a"), Priority::Low, "a3"), Some("a3"));
        assert_eq!(line.push(web("a"), Priority::Critical, "a4"), Some("a1"));
        for name in ["b", "c", "d"] {
            assert_eq!(line.push(web(name), Priority::Medium, name), None);
            assert_eq!(line.push(web(name), Priority::Low, name), None);
        }
        assert_eq!(
            line.push(Target::Mail, Priority::Low, "low"),
            Some("low"),
            "it is the newest of the least"
        );
        assert_eq!(line.push(Target::Mail, Priority::High, "mail"), Some("d"));
        assert_eq!(line.len(), 8);
        let order: Vec<&str> = std::iter::from_fn(|| line.pop()).map(|(_, order)| order).collect();
        assert_eq!(order, ["a4", "a2", "mail", "b", "c", "d", "b", "c"]);
    }

    #[test]
    fn within_a_target_too() {
        use Priority::{Critical, High, Low, Medium};
        // Four places of it.
        let mut line = Line::new(16);
        let mut push = |priority, order| line.push(Target::Mail, priority, order);
        for (priority, order) in [(Low, "l1"), (High, "h1"), (Low, "l2"), (High, "h2")] {
            assert_eq!(push(priority, order), None);
        }
        assert_eq!(push(Low, "l3"), Some("l3"));
        assert_eq!(push(Critical, "c1"), Some("l2"));
        assert_eq!(push(Medium, "m1"), Some("l1"));
        assert_eq!(push(Medium, "m2"), Some("m2"));
        assert_eq!(line.len(), 4);
        let order: Vec<&str> = std::iter::from_fn(|| {
            let (target, order) = line.pop()?;
            line.done(&target);
            Some(order)
        })
        .collect();
        assert_eq!(order, ["c1", "h1", "h2", "m1"]);
        assert_eq!((line.len(), line.targets.len()), (0, 0));
    }

    #[test]
    fn targets_are_hosts_and_ports() {
        let of = |action: serde_json::Value| Target::of(&Action::read(&action).unwrap()[0]);
        let hook = |url: &str| of(serde_json::json!({"type": "webhook", "url": url}));
        assert_eq!(hook("https://a.example/one"), web("a.example:443"));
        assert_eq!(hook("https://a.example/one"), hook("https://A.example:443/two?x"));
        assert_ne!(hook("https://a.example/one"), hook("http://a.example/one"));
        assert_eq!(of(serde_json::json!("save_to_file")), Target::Files);
    }
}
