//! Reaches each host the way the inventory says: over SSH, or by a shell of this machine.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::clock::Clock;
use super::gate::Gate;
use super::local::{Local, LocalSession};
use super::ssh::{Ssh, SshSession};
use super::talk::Purpose;
use super::{Connector, Session, Trouble};
use crate::model::{Connection, Host};
use crate::node::Program;
use crate::node::protocol::{Reply, ReplyReader};
use crate::node::run_as::RunAs;

/// All ways to hosts.
pub struct Reach {
    /// Over SSH.
    pub ssh: Ssh,
    /// On this machine.
    pub local: Local,
    /// The password of sudo, when there is one.
    pub become_password: Option<Arc<Gate>>,
    /// The program that runs on them.
    pub program: Program,
}

/// A host that was reached.
pub enum Reached {
    /// Over SSH.
    Ssh(Box<SshSession>),
    /// On this machine.
    Local(Box<LocalSession>),
}

impl Connector for Reach {
    type Session = Reached;

    async fn connect(&self, host: &Host, clock: &Arc<Clock>) -> Result<Reached, Trouble> {
        let gate = if host.becomes_root { self.become_password.clone() } else { None };
        let purpose = Purpose { program: self.program, gate, host: host.name.clone(), clock: clock.clone() };
        Ok(match host.connection {
            Connection::Ssh => Reached::Ssh(Box::new(self.ssh.connect(host, clock).await?.used_for(purpose))),
            Connection::Local => Reached::Local(Box::new(self.local.connect(host, clock).await?.used_for(purpose))),
        })
    }

    fn login(&self, host: &Host) -> String {
        match host.connection {
            Connection::Ssh => self.ssh.login(host),
            Connection::Local => self.local.login(host),
        }
    }

    fn halted(&self) -> Option<String> {
        let gate = self.become_password.as_ref();
        gate.and_then(|g| g.refused()).or_else(|| self.ssh.halted())
    }
}

impl Session for Reached {
    fn use_program(&mut self, program: Program) {
        match self {
            Reached::Ssh(session) => session.use_program(program),
            Reached::Local(session) => session.use_program(program),
        }
    }

    async fn start(&mut self, run_as: &RunAs) -> Result<(), Trouble> {
        match self {
            Reached::Ssh(session) => session.start(run_as).await,
            Reached::Local(session) => session.start(run_as).await,
        }
    }

    async fn exchange(&mut self, request: Zeroizing<Vec<u8>>, last: bool, reader: &mut ReplyReader) -> Result<Reply, Trouble> {
        match self {
            Reached::Ssh(session) => session.exchange(request, last, reader).await,
            Reached::Local(session) => session.exchange(request, last, reader).await,
        }
    }

    async fn close(self) {
        match self {
            Reached::Ssh(session) => session.close().await,
            Reached::Local(session) => session.close().await,
        }
    }
}
