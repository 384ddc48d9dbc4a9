//! Caches the client of each User-Agent, per thread, because most requests come from a few hundred agents.

use std::cell::RefCell;
use std::mem;

use hashbrown::HashMap;

use super::Client;

/// The agents of a generation, and the bytes of the longest cached agent. So the cache has at most 512 kB per thread.
const AGENTS: usize = 512;
const AGENT_BYTES: usize = 512;

/// Two generations. A full young one becomes the old one, and an agent that is looked up again moves back to the young
/// one. So the agents in use survive a flood of others, without a clock or a list.
#[derive(Default)]
struct Cache {
    young: HashMap<Box<str>, Option<Client>>,
    old: HashMap<Box<str>, Option<Client>>,
}

thread_local!(static CACHE: RefCell<Cache> = RefCell::default());

impl Cache {
    fn get(&mut self, agent: &str, find: impl FnOnce(&str) -> Option<Client>) -> Option<Client> {
        if let Some(known) = self.young.get(agent) {
            return *known;
        }
        let (agent, client) = self.old.remove_entry(agent).unwrap_or_else(|| (agent.into(), find(agent)));
        if self.young.len() == AGENTS {
            self.old = mem::replace(&mut self.young, HashMap::with_capacity(AGENTS));
        }
        self.young.insert(agent, client);
        client
    }
}

/// The result of `find` for a User-Agent. It is called again only if the agent was evicted, or is too long for the
/// cache.
pub fn get(agent: &str, find: impl FnOnce(&str) -> Option<Client>) -> Option<Client> {
    if agent.is_empty() || agent.len() > AGENT_BYTES {
        return find(agent);
    }
    CACHE.with_borrow_mut(|cache| cache.get(agent, find))
}

#[cfg(test)]
mod tests {
    use super::{AGENT_BYTES, AGENTS, CACHE, Cache, Client, get};

    const CLIENT: Option<Client> = Some(Client { name: "x", automated: true });

    #[test]
    fn an_agent_in_use_outlives_a_flood_of_others() {
        let mut cache = Cache::default();
        let mut asked = 0;
        for i in 0..10 * AGENTS {
            assert_eq!(cache.get(&format!("random {i}"), |_| None), None);
            let found = cache.get("in use", |_| {
                asked += 1;
                CLIENT
            });
            assert_eq!(found, CLIENT);
            assert!(cache.young.len() <= AGENTS && cache.old.len() <= AGENTS);
        }
        assert_eq!(asked, 1);
    }

    #[test]
    fn a_long_agent_is_not_kept() {
        for (bytes, kept) in [(0, false), (1, true), (AGENT_BYTES, true), (AGENT_BYTES + 1, false)] {
            let agent = "a".repeat(bytes);
            assert_eq!(get(&agent, |_| CLIENT), CLIENT);
            assert_eq!(CACHE.with_borrow(|cache| cache.young.contains_key(&*agent)), kept, "{bytes}");
        }
    }
}
