//! A worker's network apart from everybody else's, with a cable that can be pulled: a network namespace of Linux, and
//! relays for the two ports that lead in and out. What is sent while the cable is out is lost without a word, as it is
//! behind a switch that fails. Needs root and iproute2.

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;
use tokio::task::JoinSet;

/// A connection through a cable that is out is given up after this.
const CONNECT: Duration = Duration::from_secs(2);

/// One worker's network.
pub struct Network {
    name: String,
    relays: JoinSet<()>,
}

impl Network {
    /// A network in which `kafka` leads to the same port outside; outside, `admin` leads to the same port in it.
    pub fn new(name: String, kafka: u16, admin: u16) -> Result<Network> {
        ip(&["netns", "add", &name])?;
        let mut network = Network { name, relays: JoinSet::new() };
        network.mend()?;
        let inward = inside(&network.name, || TcpListener::bind((Ipv4Addr::LOCALHOST, kafka)))?;
        network.relay(inward, move |_| connect(kafka))?;
        let outward = TcpListener::bind((Ipv4Addr::LOCALHOST, admin))?;
        network.relay(outward, move |name| inside(name, || connect(admin)))?;
        Ok(network)
    }

    /// The command that starts a program in it.
    pub fn command(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Pulls the cable.
    pub fn cut(&self) -> Result<()> {
        ip(&["-n", &self.name, "link", "set", "lo", "down"])
    }

    /// Plugs it in.
    pub fn mend(&self) -> Result<()> {
        ip(&["-n", &self.name, "link", "set", "lo", "up"])
    }

    /// Whoever connects to `listener` is connected with what `reach` reaches. Each socket stays in the network that it
    /// was made in, whichever thread uses it.
    fn relay(
        &mut self,
        listener: TcpListener,
        reach: impl Fn(&str) -> io::Result<TcpStream> + Clone + Send + 'static,
    ) -> Result<()> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let name = self.name.clone();
        self.relays.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let (name, reach) = (name.clone(), reach.clone());
                connections.spawn(async move {
                    let far = tokio::task::spawn_blocking(move || {
                        let far = reach(&name)?;
                        far.set_nonblocking(true)?;
                        Ok::<_, io::Error>(far)
                    });
                    // Nobody there: the one who asked finds the connection closed, as it would without a relay.
                    let Ok(Ok(far)) = far.await else { return };
                    let Ok(mut far) = tokio::net::TcpStream::from_std(far) else { return };
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // One that cannot be removed costs a name.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), CONNECT)
}

/// Does something in the network of that name, on a thread that goes there and ends.
fn inside<T: Send>(name: &str, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let network = File::open(format!("/run/netns/{name}"))?;
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        });
        done.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the network panicked")))
    })
}

fn ip(arguments: &[&str]) -> Result<()> {
    let done = Command::new("ip").args(arguments).output().context("ip (of iproute2) cannot be started")?;
    if done.status.success() {
        return Ok(());
    }
    bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr).trim());
}
