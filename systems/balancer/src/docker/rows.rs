//! What follows upon an answer of the engine, or upon none: the next call of a row, or its end.

use super::call::{Call, Version, last_words};
use super::{Begun, Engine, News, Preparation, Step, is_id};
use crate::peer::{Said, Tenancy};
use machine::{Address, Close, ConnId, Now, Outbox};
use serde_json::Value;
use std::net::SocketAddr;

impl Engine {
    /// A call that has no answer.
    pub(super) fn failed(&mut self, conn: ConnId, why: &str, now: Now, out: &mut impl Outbox<Said = Said>) {
        let Some(call) = self.calls.remove(&conn) else { return };
        out.close(conn, Close::Now);
        match call.step {
            Step::Version | Step::Network | Step::Left => {
                self.obstacle = Some(why.to_owned());
                self.one_less(now, out);
            }
            Step::Removed => self.one_less(now, out),
            Step::Events => self.deaf(now),
            Step::LastWords(id, how) => self.news.push(News::Died(id, how)),
            Step::Created(Begun { tenancy, .. })
            | Step::Looked(Begun { tenancy, .. })
            | Step::Cleared(Begun { tenancy, .. }) => self.unmade(tenancy, why),
            Step::Started(tenancy, id) | Step::Inspected(tenancy, id) => {
                self.take_back(tenancy, &id, why, now, out);
            }
            Step::Excused(tenancy, id, how) => self.take_back(tenancy, &id, &how, now, out),
            Step::TakenBack(tenancy, why) => self.unmade(tenancy, &why),
            Step::Stopped(tenancy, id) => self.remove(Step::Discarded(tenancy), &id, now, out),
            Step::Discarded(tenancy) => self.news.push(News::Ended(tenancy)),
        }
    }

    /// A whole answer: what it says, and the next call of the row.
    pub(super) fn answered(&mut self, call: Call<Step>, now: Now, out: &mut impl Outbox<Said = Said>) {
        let is_well = call.is_well();
        match &call.step {
            Step::Version => {
                self.version = Some(Version::of(&call.said()));
                self.prepare(now, out);
            }
            // That there is one of that name is as good.
            Step::Network if !is_well && call.status != 409 => {
                self.obstacle = Some(format!("there is no network {}: {}", self.config.network, call.why()));
                self.one_less(now, out);
            }
            Step::Network | Step::Removed => self.one_less(now, out),
            Step::Left => self.left(&call.said(), now, out),
            Step::Events => self.deaf(now),
            Step::LastWords(id, how) => {
                self.news.push(News::Died(id.clone(), with_last_words(how, &call.text)));
            }
            Step::Created(begun) => self.created(begun, &call, now, out),
            Step::Looked(begun) => self.looked(begun, &call, now, out),
            // What did not go shows itself when the next is created.
            Step::Cleared(begun) => self.make(Begun { is_cleared: true, ..begun.clone() }, now, out),
            Step::Started(tenancy, id) if is_well => {
                self.young.insert(id.clone(), now.at);
                let path = format!("/containers/{id}/json");
                self.ask(Step::Inspected(*tenancy, id.clone()), "GET", &path, None, now, out);
            }
            Step::Started(tenancy, id) => {
                let why = format!("could not be started: {}", call.why());
                self.take_back(*tenancy, id, &why, now, out);
            }
            Step::Inspected(tenancy, id) => self.inspected(*tenancy, id, &call.said(), now, out),
            Step::Excused(tenancy, id, how) => {
                self.take_back(*tenancy, id, &with_last_words(how, &call.text), now, out);
            }
            Step::TakenBack(tenancy, why) => self.unmade(*tenancy, why),
            Step::Stopped(tenancy, id) => self.remove(Step::Discarded(*tenancy), id, now, out),
            Step::Discarded(tenancy) => self.news.push(News::Ended(*tenancy)),
        }
    }

    fn left(&mut self, said: &Value, now: Now, out: &mut impl Outbox<Said = Said>) {
        let ids = said.as_array().into_iter().flatten().filter_map(|each| each["Id"].as_str());
        let ids: Vec<&str> =
            ids.filter(|id| is_id(id) && self.kept.iter().all(|kept| **kept != **id)).collect();
        if let Preparation::Under(calls) = &mut self.preparation {
            *calls += ids.len();
        }
        for id in ids {
            self.remove(Step::Removed, id, now, out);
        }
        self.one_less(now, out);
    }

    fn created(&mut self, begun: &Begun, call: &Call<Step>, now: Now, out: &mut impl Outbox<Said = Said>) {
        let tenancy = begun.tenancy;
        if call.status == 409 && !begun.is_cleared {
            let path = format!("/containers/{}/json", begun.name);
            return self.ask(Step::Looked(begun.clone()), "GET", &path, None, now, out);
        }
        let said = call.said();
        match said["Id"].as_str().filter(|id| call.is_well() && is_id(id)) {
            Some(id) => {
                let path = format!("/containers/{id}/start");
                self.ask(Step::Started(tenancy, id.into()), "POST", &path, None, now, out);
            }
            None => self.unmade(tenancy, &format!("has no container: {}", call.why())),
        }
    }

    fn looked(&mut self, begun: &Begun, call: &Call<Step>, now: Now, out: &mut impl Outbox<Said = Said>) {
        let said = call.said();
        let is_ours = said["Config"]["Labels"][&*self.config.label].as_str() == Some(&*self.config.network);
        match said["Id"].as_str().filter(|id| call.is_well() && is_id(id)) {
            Some(id) if is_ours => self.remove(Step::Cleared(begun.clone()), id, now, out),
            Some(_) => {
                let why = format!(
                    "has no container: there is a container {} that is not of network {}",
                    begun.name, self.config.network
                );
                self.unmade(begun.tenancy, &why);
            }
            // It went meanwhile.
            None => self.make(Begun { is_cleared: true, ..begun.clone() }, now, out),
        }
    }

    fn inspected(
        &mut self,
        tenancy: Tenancy,
        id: &str,
        said: &Value,
        now: Now,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let state = &said["State"];
        if state["Running"].as_bool() == Some(false) {
            self.young.remove(id);
            let how = ended(state["ExitCode"].as_i64().map(|code| code.to_string()).as_deref());
            return self.ask_last_words(Step::Excused(tenancy, id.into(), how), id, now, out);
        }
        let network = &said["NetworkSettings"]["Networks"][&*self.config.network];
        match network["IPAddress"].as_str().and_then(|ip| ip.parse().ok()) {
            Some(ip) => {
                let at = Address::Ip(SocketAddr::new(ip, self.config.port));
                self.news.push(News::Made(tenancy, Ok((id.into(), at))));
            }
            None => {
                let why = format!("has no address in network {}", self.config.network);
                self.take_back(tenancy, id, &why, now, out);
            }
        }
    }

    /// A container that was made is of no use: it goes, then that is told.
    fn take_back(
        &mut self,
        tenancy: Tenancy,
        id: &str,
        why: &str,
        now: Now,
        out: &mut impl Outbox<Said = Said>,
    ) {
        self.young.remove(id);
        self.remove(Step::TakenBack(tenancy, why.to_owned()), id, now, out);
    }

    pub(super) fn unmade(&mut self, tenancy: Tenancy, why: &str) {
        self.news.push(News::Made(tenancy, Err(why.to_owned())));
    }
}

/// How a container ended, by the status that the engine tells.
pub(super) fn ended(status: Option<&str>) -> String {
    status.map_or_else(|| "ended".to_owned(), |status| format!("exited with status {status}"))
}

fn with_last_words(how: &str, log: &[u8]) -> String {
    match last_words(log) {
        Some(words) => format!("{how} and said: {words}"),
        None => how.to_owned(),
    }
}
