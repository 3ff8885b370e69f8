//! Every departure from New York City's airports in 2013: 336,776 flights, the data that `tidecast dev` replays.
//!
//! `flights.bin` (0.85 MB, CC0) is made by `make_flights.py` beside this crate, which also documents its layout.
//! [`flights`] unpacks it (1.9 MB in memory) and yields the flights one by one, in the order of their scheduled
//! departure; nothing here reads a clock or a file.

use std::fmt;

static PACKED: &[u8] = include_bytes!("../flights.bin");
const MAGIC: &[u8] = b"TCFL\x01";
/// Far above the real size; a damaged file cannot ask for more.
const UNPACKED_BYTES_MAX: usize = 8 << 20;
const HEAD_BYTES: usize = 7 * 4;
const SERVICE_BYTES: usize = 13;

/// Why the flights could not be unpacked: the file that was built in is damaged.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FlightsError {
    /// The file does not begin as a file of flights does.
    #[error("flights.bin is not a file of flights (version 1): make it again with make_flights.py")]
    NotFlights,
    /// The compressed part does not unpack, or its checksum differs.
    #[error("flights.bin does not unpack ({0}): make it again with make_flights.py")]
    Damaged(String),
    /// It unpacks, but its columns do not fit together.
    #[error("flights.bin has columns that do not fit together: make it again with make_flights.py")]
    Inconsistent,
}

/// An airport (3 letters) or a carrier (2 characters).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code([u8; 3]);

impl Code {
    /// The code as text, `JFK` or `9E`.
    pub fn as_str(&self) -> &str {
        let len = if self.0[2] == 0 { 2 } else { 3 };
        std::str::from_utf8(&self.0[..len]).unwrap_or_default()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One scheduled flight and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// Scheduled departure, epoch seconds (UTC): the event time of cancelled flights too.
    pub scheduled_s: i64,
    /// Where it leaves: EWR, JFK or LGA.
    pub origin: Code,
    /// Where it goes.
    pub dest: Code,
    /// The airline.
    pub carrier: Code,
    /// The flight's number, unique neither in a day nor in an airline.
    pub flight: u16,
    /// Distance in miles.
    pub distance_miles: u16,
    /// Minutes late (negative: early) at departure; none when the flight was cancelled.
    pub dep_delay_min: Option<i32>,
    /// Minutes late at arrival; none when the flight was cancelled, diverted, or not recorded.
    pub arr_delay_min: Option<i32>,
}

impl Flight {
    /// True when the flight never left.
    pub fn is_cancelled(&self) -> bool {
        self.dep_delay_min.is_none()
    }

    /// The source of its event: `JFK/B6`.
    pub fn source(&self) -> String {
        format!("{}/{}", self.origin, self.carrier)
    }

    /// Appends the flight as an event in JSON, of type `departure`. `shift_s` is added to the scheduled time, so that
    /// the year can be told again; the id tells the tellings apart. Delays that are not known are left out.
    pub fn write_event(&self, shift_s: i64, out: &mut Vec<u8>) {
        use std::io::Write;
        let Flight { origin, dest, carrier, flight, distance_miles: miles, .. } = *self;
        let at = self.scheduled_s + shift_s;
        // A Vec takes every write; there is no error to hand on.
        let _ = write!(
            out,
            r#"{{"id":"{carrier}{flight}-{origin}-{dest}-{at}","source":"{origin}/{carrier}","type":"departure","timestamp":{at},"data":{{"origin":"{origin}","dest":"{dest}","carrier":"{carrier}","flight":{flight}"#
        );
        if let Some(late) = self.dep_delay_min {
            let _ = write!(out, r#","dep_delay":{late}"#);
        }
        if let Some(late) = self.arr_delay_min {
            let _ = write!(out, r#","arr_delay":{late}"#);
        }
        let _ = write!(out, r#","distance":{miles},"cancelled":{}}}}}"#, self.is_cancelled());
    }
}

/// Unpacks the flights of the year, in the order of their scheduled departure.
pub fn flights() -> Result<Flights, FlightsError> {
    unpack(PACKED)
}

fn unpack(file: &[u8]) -> Result<Flights, FlightsError> {
    let packed = file.strip_prefix(MAGIC).ok_or(FlightsError::NotFlights)?;
    let bytes = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(packed, UNPACKED_BYTES_MAX)
        .map_err(|why| FlightsError::Damaged(why.to_string()))?;
    let head = |i: usize| {
        let word = bytes.get(i * 4..i * 4 + 4)?;
        Some(u32::from_le_bytes(word.try_into().ok()?) as usize)
    };
    let [Some(count), Some(services), Some(minute), Some(gap), Some(service), Some(dep), Some(arr)] =
        std::array::from_fn(head)
    else {
        return Err(FlightsError::Inconsistent);
    };
    let lengths = [services * SERVICE_BYTES, gap, service, dep, arr];
    let mut at = HEAD_BYTES;
    let [services, gap, service, dep, arr] = lengths.map(|length| {
        let column = Column { at, end: at + length };
        at = column.end;
        column
    });
    if at != bytes.len() || service.end - service.at != count * 2 {
        return Err(FlightsError::Inconsistent);
    }
    Ok(Flights { bytes, index: 0, count, minute: minute as i64, services, gap, service, dep, arr })
}

/// The flights of the year, one by one.
#[derive(Clone, Debug)]
pub struct Flights {
    bytes: Vec<u8>,
    index: usize,
    count: usize,
    minute: i64,
    services: Column,
    gap: Column,
    service: Column,
    dep: Column,
    arr: Column,
}

/// A part of the unpacked bytes, and how far it has been read.
#[derive(Clone, Copy, Debug)]
struct Column {
    at: usize,
    end: usize,
}

impl Column {
    fn varint(&mut self, bytes: &[u8]) -> Option<u32> {
        let (mut value, mut shift) = (0u32, 0);
        while self.at < self.end && shift < 32 {
            let byte = *bytes.get(self.at)?;
            self.at += 1;
            value |= u32::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
            shift += 7;
        }
        None
    }

    /// 0 is "not known", n + 1 the zigzag of a signed number.
    fn optional(&mut self, bytes: &[u8]) -> Option<Option<i32>> {
        let Some(zigzag) = self.varint(bytes)?.checked_sub(1) else { return Some(None) };
        Some(Some((zigzag >> 1) as i32 ^ -((zigzag & 1) as i32)))
    }
}

impl Iterator for Flights {
    type Item = Flight;

    fn next(&mut self) -> Option<Flight> {
        if self.index == self.count {
            return None;
        }
        let bytes = &self.bytes;
        let (low, high) = (self.service.at + self.index, self.service.at + self.count + self.index);
        let service = usize::from(u16::from_le_bytes([*bytes.get(low)?, *bytes.get(high)?]));
        let at = self.services.at + service * SERVICE_BYTES;
        let row = bytes.get(at..at + SERVICE_BYTES).filter(|_| at < self.services.end)?;
        self.minute += i64::from(self.gap.varint(bytes)?);
        let dep_delay_min = self.dep.optional(bytes)?;
        let arr_delay_min = match (self.arr.optional(bytes)?, dep_delay_min) {
            (Some(more), Some(dep)) => Some(dep + more),
            _ => None,
        };
        self.index += 1;
        Some(Flight {
            scheduled_s: self.minute * 60,
            origin: Code([row[0], row[1], row[2]]),
            carrier: Code([row[3], row[4], row[5]]),
            dest: Code([row[6], row[7], row[8]]),
            flight: u16::from_le_bytes([row[9], row[10]]),
            distance_miles: u16::from_le_bytes([row[11], row[12]]),
            dep_delay_min,
            arr_delay_min,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.count - self.index;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Flights {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn all() -> Vec<Flight> {
        flights().unwrap().collect()
    }

    /// The figures of all golden tests here were counted from the CSV of the package, without make_flights.py.
    #[test]
    fn every_flight_of_the_year_is_there() {
        let all = all();
        assert_eq!(all.len(), 336_776);
        let mut origins: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        for flight in &all {
            let of = origins.entry(flight.origin.to_string()).or_default();
            of.0 += 1;
            of.1 += u32::from(flight.is_cancelled());
        }
        let golden = [("EWR", (120_835, 3_239)), ("JFK", (111_279, 1_863)), ("LGA", (104_662, 3_153))];
        assert_eq!(origins, BTreeMap::from(golden.map(|(name, of)| (name.to_string(), of))));
        assert_eq!(all.iter().filter(|f| f.arr_delay_min.is_none()).count(), 9_430);
        assert_eq!(all.iter().filter(|f| f.carrier.as_str() == "B6").count(), 54_635);
    }

    #[test]
    fn the_columns_add_up_to_those_of_the_source() {
        let all = all();
        assert_eq!(all.iter().filter_map(|f| f.dep_delay_min).map(i64::from).sum::<i64>(), 4_152_200);
        assert_eq!(all.iter().filter_map(|f| f.arr_delay_min).map(i64::from).sum::<i64>(), 2_257_174);
        assert_eq!(all.iter().map(|f| i64::from(f.distance_miles)).sum::<i64>(), 350_217_607);
        assert_eq!(all.iter().map(|f| i64::from(f.flight)).sum::<i64>(), 664_096_549);
    }

    #[test]
    fn they_come_in_order_and_in_utc() {
        let all = all();
        assert!(all.is_sorted_by_key(|f| f.scheduled_s));
        assert_eq!(all[0].scheduled_s, 1_357_035_300, "1 January 2013, 05:15 in New York, is 10:15 UTC");
        // The storm of 8 February: all 24 flights of JFK in the hour from 22:00 UTC were cancelled.
        let from = 1_360_360_800;
        let hour = |f: &&Flight| f.origin.as_str() == "JFK" && (from..from + 3600).contains(&f.scheduled_s);
        let storm: Vec<_> = all.iter().filter(hour).collect();
        assert_eq!((storm.len(), storm.iter().filter(|f| f.is_cancelled()).count()), (24, 24));
    }

    #[test]
    fn a_flight_is_an_event() {
        let late = all().into_iter().max_by_key(|f| f.dep_delay_min).unwrap();
        let mut out = Vec::new();
        late.write_event(3600, &mut out);
        let event: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let data = serde_json::json!({"origin": "JFK", "dest": "HNL", "carrier": "HA", "flight": 51,
            "dep_delay": 1301, "arr_delay": 1272, "distance": 4983, "cancelled": false});
        let golden = serde_json::json!({"id": "HA51-JFK-HNL-1357743600", "source": "JFK/HA", "type": "departure",
            "timestamp": 1_357_743_600, "data": data});
        assert_eq!(event, golden);
        assert_eq!(late.source(), "JFK/HA");
    }

    #[test]
    fn a_cancelled_flight_has_no_delays_and_every_id_is_its_own() {
        let (mut ids, mut out) = (std::collections::HashSet::new(), Vec::new());
        for flight in all() {
            out.clear();
            flight.write_event(0, &mut out);
            let event: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(event["data"]["cancelled"], event["data"].get("dep_delay").is_none());
            assert!(ids.insert(event["id"].as_str().unwrap().to_owned()), "{event}");
        }
    }

    #[test]
    fn a_damaged_file_is_refused() {
        assert_eq!(unpack(b"").unwrap_err(), FlightsError::NotFlights);
        assert_eq!(unpack(b"TCFL\x02").unwrap_err(), FlightsError::NotFlights);
        assert!(matches!(unpack(&PACKED[..PACKED.len() - 100]), Err(FlightsError::Damaged(_))));
        let mut flipped = PACKED.to_vec();
        flipped[400_000] ^= 1;
        assert!(matches!(unpack(&flipped), Err(FlightsError::Damaged(_))));
    }
}
