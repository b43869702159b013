//! What the page shows: jobs and nodes as a node told them last, what was sent and is not among them yet, and what is
//! wrong.

use super::{Client, HTML, NEWS, PAGE};
use crate::client::Payload;
use crate::page;
use machine::{Now, Outbox};
use serde_json::Value;
use web::{Answer, AskId};

impl Client {
    pub(super) fn sent_is(
        &mut self,
        now: Now,
        payload: Payload,
        status: u16,
        node: usize,
        out: &mut impl Outbox,
    ) {
        match status {
            201 => {
                let (hash, port) = (payload.hash(), self.courier.port(node));
                self.note(&format!("Sent payload: {hash} for execution to port: {port}"));
                self.awaited.insert(hash);
            }
            // Nobody could take it: it is tried again until somebody can.
            418 | 429 | 503 => self.post(now, payload, out),
            _ => {
                self.trouble = Some(format!("payload {} was refused with status {status}", payload.hash()));
                self.sent.retain(|sent| sent.key != payload.key);
            }
        }
        self.looked = None;
    }

    pub(super) fn learn(
        &mut self,
        now: Now,
        status: u16,
        body: &[u8],
        take: impl FnOnce(&mut Self, Value),
        out: &mut impl Outbox,
    ) {
        match serde_json::from_slice::<Value>(body) {
            Ok(value) if status == 200 => {
                self.trouble = None;
                take(self, value);
            }
            Ok(value) => self.trouble = value["error"].as_str().map(str::to_owned),
            Err(_) => self.trouble = Some(format!("a node answered {status}")),
        }
        if self.is_looking == [false, false] {
            self.show(now, out);
        }
    }

    pub(super) fn jobs_are(&mut self, jobs: Value) {
        let all = jobs["jobs"].as_array().cloned().unwrap_or_default();
        let known = |hash: &str| all.iter().find(|job| job["id"] == hash);
        self.sent.retain(|sent| known(&sent.hash()).is_none());
        let come: Vec<String> = self
            .awaited
            .iter()
            .filter(|hash| known(hash).is_some_and(|job| page::result(job) != "executing"))
            .cloned()
            .collect();
        for hash in come {
            self.awaited.remove(&hash);
            self.note(&format!("Received result: {hash}"));
        }
        self.jobs = jobs;
    }

    /// Jobs as they are shown: those that were sent and are not known to a node yet come first.
    pub(super) fn shown(&self) -> Value {
        let waiting = self.sent.iter().rev().map(|payload| {
            serde_json::json!({"id": payload.hash(), "state": "sending", "program": payload.program})
        });
        let known = self.jobs["jobs"].as_array().cloned().unwrap_or_default();
        serde_json::json!({"jobs": waiting.chain(known).collect::<Vec<Value>>()})
    }

    pub(super) fn summary(&self) -> String {
        let nodes = self.nodes["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let alive = nodes.iter().filter(|node| node["state"] == "alive").count();
        let leader = nodes.iter().find(|node| node["role"] == "leader").and_then(|node| node["id"].as_str());
        match (&self.trouble, leader) {
            (Some(trouble), _) => trouble.clone(),
            (None, Some(leader)) => format!("{leader} leads, {alive} of {} nodes are alive", nodes.len()),
            (None, None) => format!("no leader; {alive} of {} nodes are alive", nodes.len()),
        }
    }

    /// Those who look see what is known now.
    pub(super) fn show(&mut self, now: Now, out: &mut impl Outbox) {
        let news = page::news(&self.shown(), &self.nodes, &self.summary(), true);
        for (ask, _) in core::mem::take(&mut self.pages) {
            self.page(now, ask, out);
        }
        if news != self.news {
            self.site.publish(NEWS, "", &news, out);
            self.news = news;
        }
    }

    pub(super) fn page(&mut self, now: Now, ask: AskId, out: &mut impl Outbox) {
        let rows = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
        let payload = match &self.payload {
            None => String::new(),
            Some(payload) => format!(
                "<p>Payload <code>{}</code> is ready to be sent:</p><pre class=\"payload\">{}</pre>",
                payload.hash(),
                page::escaped(&payload.program)
            ),
        };
        let html = page::filled(
            PAGE,
            &[
                ("payload", &payload),
                ("send", if self.payload.is_some() { "" } else { "disabled" }),
                ("jobs", &page::jobs(&rows(&self.shown(), "jobs"), true)),
                ("nodes", &page::nodes(&rows(&self.nodes, "nodes"), true)),
                ("summary", &page::escaped(&self.summary())),
                ("crashes", &page::crashes()),
            ],
        );
        let fields = [("Cache-Control", "no-store")];
        self.site.answer(now, ask, Answer::new(200, HTML, html.as_bytes()).with(&fields), out);
    }
}
