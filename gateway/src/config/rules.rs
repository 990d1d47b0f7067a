//! What must hold between keys of different sections. Knows no file and no variable.

mod cloud;
mod store;

use std::net::SocketAddr;

use tracing_subscriber::EnvFilter;

use super::{Config, StoreKind, TaskCompute};

/// Something that does not hold.
pub(super) struct Broken {
    /// The key to change, of those that do not agree.
    pub key: &'static str,
    /// The other keys that the rule looks at: nothing is said where one of them is wrong by itself.
    pub others: &'static [&'static str],
    pub wrong: String,
    pub allowed: &'static str,
}

/// Every rule that a configuration breaks.
pub(super) fn broken(config: &Config) -> Vec<Broken> {
    let mut broken = Vec::new();
    let Config { listen, auth, limits, .. } = config;
    if let Err(error) = EnvFilter::builder().parse(&config.log.filter) {
        broken.push(Broken {
            key: "log.filter",
            others: &[],
            wrong: format!("{:?} can't be read: {error}", config.log.filter),
            allowed: "such as \"info\" or \"info,shellgate_gateway=debug\"",
        });
    }
    broken.extend(listeners(config));
    broken.extend(tasks(config));
    broken.extend(peers(config));
    if auth.development.enabled {
        let ours = [("listen.client", listen.client), ("listen.admin", listen.admin)];
        let others = [("listen.task", listen.task), ("listen.peer", listen.peer)];
        let others = others.into_iter().filter_map(|(key, address)| Some((key, address?)));
        for (key, address) in ours.into_iter().chain(others) {
            if !address.ip().to_canonical().is_loopback() {
                broken.push(Broken {
                    key,
                    others: &["auth.development.enabled"],
                    wrong: format!("{address} is not local, and the development issuer is enabled"),
                    allowed: "a loopback address, or auth.development.enabled = false",
                });
            }
        }
        if !listen.proxies.is_empty() {
            broken.push(Broken {
                key: "listen.proxies",
                others: &["auth.development.enabled"],
                wrong: "a proxy brings others here, and the development issuer is enabled".into(),
                allowed: "no proxies, or auth.development.enabled = false",
            });
        }
    } else if auth.issuers.is_empty() {
        broken.push(Broken {
            key: "auth.issuers",
            others: &["auth.development.enabled"],
            wrong: "nobody can sign in: there is no issuer".into(),
            allowed: "at least one, or auth.development.enabled = true on a machine of one's own",
        });
    }
    if listen.unauthenticated_per_address > listen.max_connections {
        broken.push(Broken {
            key: "listen.unauthenticated_per_address",
            others: &["listen.max_connections"],
            wrong: format!(
                "{} is above listen.max_connections ({})",
                listen.unauthenticated_per_address, listen.max_connections
            ),
            allowed: "up to listen.max_connections",
        });
    }
    if limits.sessions_per_user > limits.sessions {
        broken.push(Broken {
            key: "limits.sessions_per_user",
            others: &["limits.sessions"],
            wrong: format!(
                "{} is above limits.sessions ({})",
                limits.sessions_per_user, limits.sessions
            ),
            allowed: "up to limits.sessions",
        });
    }
    if config.sandbox.limits.tmp > config.sandbox.limits.memory {
        broken.push(Broken {
            key: "sandbox.limits.tmp",
            others: &["sandbox.limits.memory"],
            wrong: format!(
                "{} is above sandbox.limits.memory ({}), and lies in it",
                config.sandbox.limits.tmp, config.sandbox.limits.memory
            ),
            allowed: "up to sandbox.limits.memory",
        });
    }
    if config.server.state_dir.starts_with(&config.volumes.root) {
        broken.push(Broken {
            key: "volumes.root",
            others: &["server.state_dir"],
            wrong: "the state directory lies in it, among the users' files".into(),
            allowed: "a directory of its own, in the state directory or elsewhere",
        });
    }
    if let Some(skeleton) = &config.volumes.skeleton
        && (skeleton.starts_with(&config.volumes.root)
            || config.server.state_dir.starts_with(skeleton))
    {
        broken.push(Broken {
            key: "volumes.skeleton",
            others: &["volumes.root", "server.state_dir"],
            wrong: "it holds the users' files or the state directory, or lies among them".into(),
            allowed: "a directory of its own",
        });
    }
    broken.extend(cloud::broken(config));
    broken.extend(store::broken(config));
    broken
}

/// Listeners that take each other's place.
fn listeners(config: &Config) -> Vec<Broken> {
    let listen = &config.listen;
    let taken = |key, address: SocketAddr, others: &'static [&'static str], first: SocketAddr| {
        collide(address, first).then(|| Broken {
            key,
            others,
            wrong: format!("{address} is taken by {} ({first})", others[0]),
            allowed: "another port",
        })
    };
    let admin = taken("listen.admin", listen.admin, &["listen.client"], listen.client);
    let task = listen.task.and_then(|task| {
        taken("listen.task", task, &["listen.client"], listen.client)
            .or_else(|| taken("listen.task", task, &["listen.admin"], listen.admin))
    });
    let peer = listen.peer.and_then(|peer| {
        taken("listen.peer", peer, &["listen.client"], listen.client)
            .or_else(|| taken("listen.peer", peer, &["listen.admin"], listen.admin))
            .or_else(|| taken("listen.peer", peer, &["listen.task"], listen.task?))
    });
    admin.into_iter().chain(task).chain(peer).collect()
}

/// What several gateways need.
fn peers(config: &Config) -> Vec<Broken> {
    let mut broken = Vec::new();
    let peer = config.listen.peer;
    if peer.is_some() && config.store.kind != StoreKind::Postgres {
        broken.push(Broken {
            key: "listen.peer",
            others: &["store.kind"],
            wrong: "it is set, and store.kind is \"sqlite\": others could not share that".into(),
            allowed: "none, or store.kind = \"postgres\"",
        });
    }
    if peer.is_some() && config.tasks.compute != TaskCompute::Ecs {
        broken.push(Broken {
            key: "listen.peer",
            others: &["tasks.compute"],
            wrong: "it is set, and tasks run on this machine: no other gateway could reach them"
                .into(),
            allowed: "none, or tasks.compute = \"ecs\"",
        });
    }
    if peer.is_some() && config.tasks.enrolment_key.is_none() {
        broken.push(Broken {
            key: "tasks.enrolment_key",
            others: &["listen.peer"],
            wrong: "it is missing, and listen.peer is set: each gateway would make its own".into(),
            allowed: "where the key is that all gateways have",
        });
    }
    let Some(address) = &config.peers.address else { return broken };
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let port = port.and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none_or(|port| port == 0) {
        broken.push(Broken {
            key: "peers.address",
            others: &[],
            wrong: format!("{address:?} is no host and port"),
            allowed: "such as \"10.0.1.7:7803\"",
        });
    } else if peer.is_none() {
        broken.push(Broken {
            key: "peers.address",
            others: &["listen.peer"],
            wrong: "it is set, and listen.peer is not: nobody listens there".into(),
            allowed: "none, or listen.peer beside it",
        });
    }
    broken
}

/// What the tasks' listener needs, and what needs it.
fn tasks(config: &Config) -> Vec<Broken> {
    let tasks = &config.tasks;
    let mut broken = Vec::new();
    if config.listen.task.is_none() {
        if tasks.compute == TaskCompute::Ecs {
            broken.push(Broken {
                key: "listen.task",
                others: &["tasks.compute"],
                wrong: "no bridge can call: tasks.compute is \"ecs\", and it is missing".into(),
                allowed: "an address that tasks can reach",
            });
        }
        return broken;
    }
    let mut needs = |is_there: bool, key, allowed| {
        if !is_there {
            let wrong = "listen.task is set, and it is missing".into();
            broken.push(Broken { key, others: &["listen.task"], wrong, allowed });
        }
    };
    needs(tasks.dial.is_some(), "tasks.dial", "where tasks reach listen.task: wss://host:port");
    needs(!tasks.authorities.is_empty(), "tasks.authorities", "the authority's certificate");
    needs(tasks.authority_key.is_some(), "tasks.authority_key", "the authority's private key");
    broken
}

/// Whether two listeners can't both be there. Port 0 is a free port each time.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port()
        && one.port() != 0
        && (one.ip().to_canonical() == other.ip().to_canonical() || everywhere)
}
