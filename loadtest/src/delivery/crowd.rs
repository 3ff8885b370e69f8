//! Many clients on one thread: what they cost must not be what is measured.

use super::client::{Brought, Client, Stage};
use super::dialect::Dialect;
use super::record::{Marks, Models, micros};
use super::wire::hello;
use anyhow::{Result, bail};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

/// Connections being made at once, unless all come back at once.
const KNOCKING_MAX: usize = 256;
/// Clients of one source address: an address has ports for some 28,000 connections, those just closed among them.
const CLIENTS_AN_ADDRESS: usize = 1_000;
/// The receive buffer of a client that will not read: what the kernel takes for it is not what is measured.
const STALLING_BUFFER: usize = 4_096;
/// Bytes that one reading takes at most.
const SCRATCH: usize = 512 << 10;
/// One client of so many will not read when the others do.
pub(super) const STALLING: usize = 10;

/// An update that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub record: u32,
    /// Microseconds since it was sent.
    pub after: u32,
}

/// See the module.
pub(super) struct Crowd {
    poll: Poll,
    pub clients: Vec<Client>,
    dialect: Dialect,
    address: SocketAddr,
    /// All that is fed; each client wants some of it.
    models: Models,
    /// Some of them will not read for a while.
    will_stall: bool,
    marks: Marks,
    scratch: Vec<u8>,
    pub seen: Vec<Seen>,
    /// Connections that ended without being left, and the code of the last.
    pub ended: Vec<u16>,
    /// The first refusals.
    pub refused: Vec<String>,
    pub refusals: u64,
    /// Updates of models that were not asked for.
    pub strange: u64,
}

impl Crowd {
    /// Clients that know what they want, and are not connected.
    pub fn new(
        (dialect, address): (Dialect, SocketAddr),
        models: Models,
        wants: Vec<Models>,
        will_stall: bool,
    ) -> Result<Crowd> {
        Ok(Crowd {
            poll: Poll::new()?,
            clients: wants.into_iter().map(Client::new).collect(),
            dialect,
            address,
            models,
            will_stall,
            marks: Marks::default(),
            scratch: vec![0; SCRATCH],
            seen: Vec::new(),
            ended: Vec::new(),
            refused: Vec::new(),
            refusals: 0,
            strange: 0,
        })
    }

    /// Clients that are at this stage.
    pub fn at(&self, stage: Stage) -> usize {
        self.clients.iter().filter(|client| client.stage == stage).count()
    }

    /// Connects all that are away, a few at a time.
    pub fn connect(&mut self, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        let mut next = 0;
        while self.at(Stage::Idle) < self.clients.len() {
            let busy = self.at(Stage::Knocking) + self.at(Stage::Greeting);
            for _ in busy..KNOCKING_MAX.min(self.clients.len()) {
                if next < self.clients.len() {
                    self.knock(next)?;
                    next += 1;
                }
            }
            self.turn(Duration::from_millis(5))?;
            self.fail_if(Instant::now() > until, "not all connected")?;
        }
        Ok(())
    }

    /// Subscribes all, and waits for the answers.
    pub fn subscribe(&mut self, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        for number in 0..self.clients.len() {
            self.ask(number, false);
            if number.is_multiple_of(KNOCKING_MAX) {
                self.turn(Duration::ZERO)?;
            }
        }
        while self.at(Stage::Live) < self.clients.len() {
            self.turn(Duration::from_millis(5))?;
            self.fail_if(Instant::now() > until, "not all subscribed")?;
        }
        Ok(())
    }

    /// All lose their connection and come back at once; how long it took until each had an update that was sent after it
    /// was answered, and how many had when the limit was reached.
    pub fn come_back(&mut self, limit: Duration) -> Result<(Duration, usize)> {
        self.clients.iter_mut().for_each(Client::leave);
        let start = Instant::now();
        for number in 0..self.clients.len() {
            self.knock(number)?;
        }
        let mut back = 0;
        while back < self.clients.len() && start.elapsed() < limit {
            self.turn(Duration::from_millis(5))?;
            for number in 0..self.clients.len() {
                if self.clients[number].stage == Stage::Idle {
                    self.ask(number, true);
                }
            }
            back = self.clients.iter().filter(|client| client.is_back).count();
        }
        Ok((start.elapsed(), back))
    }

    /// Reads for so long, or until it is enough.
    pub fn read(&mut self, limit: Duration, enough: impl Fn(&Crowd) -> bool) -> Result<()> {
        let until = Instant::now() + limit;
        while Instant::now() < until && !enough(self) {
            self.turn(Duration::from_millis(5))?;
        }
        Ok(())
    }

    /// Reads until every client has what `records` of the feed have for it, or nothing came for `quiet`.
    pub fn drain(&mut self, records: u32, quiet: Duration) -> Result<()> {
        let models = self.models;
        let mut came_at = Instant::now();
        loop {
            let before = self.seen.len();
            self.read(Duration::from_millis(100), |_| false)?;
            if self.seen.len() > before {
                came_at = Instant::now();
            }
            let has_all = |client: &Client| {
                let wanted = (client.models.first..).map(|model| models.messages(model, records));
                client.next.iter().zip(wanted).all(|(next, wanted)| *next >= wanted)
            };
            if came_at.elapsed() > quiet || self.clients.iter().all(has_all) {
                break;
            }
        }
        // What never came is missed like what was passed over.
        for client in &mut self.clients {
            for (place, next) in client.next.iter_mut().enumerate() {
                let wanted = models.messages(client.models.first + place as u32, records);
                client.missed += u64::from(wanted.saturating_sub(*next));
                *next = (*next).max(wanted);
            }
        }
        Ok(())
    }

    /// One client in so many stops reading, or reads again.
    pub fn stall(&mut self, stalled: bool) -> Result<()> {
        for (number, client) in self.clients.iter_mut().enumerate().step_by(STALLING) {
            let Some(stream) = &mut client.stream else { continue };
            client.is_stalled = stalled;
            match stalled {
                true => self.poll.registry().deregister(stream)?,
                false => {
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    self.poll.registry().register(stream, Token(number), interest)?;
                }
            }
        }
        Ok(())
    }

    fn knock(&mut self, number: usize) -> Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if self.will_stall && number.is_multiple_of(STALLING) {
            socket.set_recv_buffer_size(STALLING_BUFFER)?;
        }
        let own = Ipv4Addr::new(127, 0, 1 + (number / CLIENTS_AN_ADDRESS) as u8, 1);
        socket.bind(&SockAddr::from(SocketAddrV4::new(own, 0)))?;
        match socket.connect(&SockAddr::from(self.address)) {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock && !is_under_way(&error) => {
                return Err(error.into());
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        stream.set_nodelay(true)?;
        self.poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        let hello = hello(&self.address.to_string(), self.dialect.path());
        self.clients[number].knock(stream, &hello);
        Ok(())
    }

    fn ask(&mut self, number: usize, back: bool) {
        let client = &mut self.clients[number];
        let place = client.place.clone();
        let from = back.then_some((&place, &client.next[..]));
        let ask = self.dialect.subscribe(client.models, from);
        client.stage = Stage::Asking(self.dialect.answers(client.models));
        client.say(&ask);
    }

    /// Waits for something to come, and reads it.
    fn turn(&mut self, wait: Duration) -> Result<()> {
        let mut events = Events::with_capacity(512);
        self.poll.poll(&mut events, Some(wait))?;
        let mut brought = Brought::default();
        for event in &events {
            self.handle(event, &mut brought);
        }
        Ok(())
    }

    fn handle(&mut self, event: &Event, brought: &mut Brought) {
        let client = &mut self.clients[event.token().0];
        if event.is_writable() {
            client.send();
        }
        if !event.is_readable() {
            return;
        }
        client.receive(self.dialect, &self.marks, &mut self.scratch, brought);
        if event.is_read_closed() {
            // The end that stands behind what was read brings no event of its own.
            client.receive(self.dialect, &self.marks, &mut self.scratch, brought);
        }
        let now = micros();
        for mark in brought.marks.drain(..) {
            match self.models.record(&mark).filter(|_| client.check(&mark)) {
                Some(record) => {
                    let after = now.saturating_sub(mark.sent_at) as u32;
                    self.seen.push(Seen { record, after });
                }
                None => self.strange += 1,
            }
        }
        if let Some(why) = brought.refused.take() {
            self.refusals += 1;
            if self.refused.len() < 10 {
                self.refused.push(why);
            }
        }
        if let Some(code) = brought.ended.take()
            && client.stage != Stage::Away
        {
            client.leave();
            self.ended.push(code);
        }
    }

    fn fail_if(&self, failed: bool, what: &str) -> Result<()> {
        if failed {
            let stages = [Stage::Away, Stage::Knocking, Stage::Greeting, Stage::Idle, Stage::Live]
                .map(|stage| format!("{stage:?} {}", self.at(stage)));
            bail!("{what} in time: {}; refused: {:?}", stages.join(", "), self.refused);
        }
        Ok(())
    }
}

/// A connection that is not blocked for is made in the background.
fn is_under_way(error: &std::io::Error) -> bool {
    const EINPROGRESS: i32 = 115;
    error.raw_os_error() == Some(EINPROGRESS)
}
