//! What clients ask, and what the core does that they ask: it reads, checks, and passes on to the task's owner.

use crate::answers::Answer;
use crate::base64;
use crate::config::Config;
use crate::dispatch::PAYLOAD_MAX;
use crate::form::{self, Execute, Wrong};
use crate::functions::Function;
use crate::keep::{Record, Then};
use crate::peer::{Asker, Question, Said, packed};
use crate::pickle;
use crate::shard::{Faas, Registering};
use crate::uuid::Uuid;
use machine::{Blob, Now, Outbox};
use web::{Ask, AskId, Asset, BodyRule, Event, Face, Method, Route, Site, Slash};

/// The longest idempotency key, in bytes.
const KEY_MAX: usize = 255;

/// Where requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// Who we are.
    Root,
    /// A function is registered.
    Register,
    /// A task is created.
    Execute,
    /// Several are.
    Batch,
    /// A task's state.
    Status,
    /// A task's result.
    Result,
    /// A task is cancelled.
    Cancel,
    /// A task is tried again.
    Retry,
    /// Tasks by state.
    Tasks,
    /// Workers.
    Workers,
    /// Functions.
    Functions,
}

const ASSETS: &[Asset] = &[
    Asset::html("/ui", include_str!("page/index.html")),
    Asset::html("/ui/", include_str!("page/index.html")),
    Asset::css("/ui/faas.css", include_str!("page/faas.css")),
    Asset::js("/ui/faas.js", include_str!("page/faas.js")),
    Asset::new("/ui/icon.svg", "image/svg+xml", include_bytes!("page/icon.svg")),
];

/// The body of a refusal, as the field's clients know it.
fn refusal(status: u16, sentence: &str, into: &mut Vec<u8>) -> &'static str {
    let words = match status {
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => sentence,
    };
    into.extend_from_slice(&Answer::refusal(status, words).body);
    web::JSON
}

/// The face of one core.
pub(crate) fn site(config: &Config) -> Site<To> {
    let face = Face { assets: ASSETS, slash: Slash::Ignored, refusal, ..Face::default() };
    let body = BodyRule::Whole(config.limits.body_max);
    let routes = vec![
        Route::get("/", To::Root),
        Route::post("/register_function", To::Register).body(body),
        Route::post("/execute_function", To::Execute).body(body),
        Route::post("/execute_functions", To::Batch).body(body),
        Route::get("/status/{id}", To::Status),
        Route::get("/result/{id}", To::Result),
        Route::delete("/task/{id}", To::Cancel),
        Route::new(Method::Post, "/task/{id}/retry", To::Retry),
        Route::get("/tasks", To::Tasks),
        Route::get("/workers", To::Workers),
        Route::get("/functions", To::Functions),
    ];
    Site::new(face, routes, None)
}

impl Faas {
    /// Something came on a client's connection.
    pub(crate) fn asked(&mut self, now: Now, event: Event<'_, To>, out: &mut impl Outbox<Said = Said>) {
        let Event::Ask(ask) = event else { return };
        if !self.config.tokens.allow(ask.head.fields.get("authorization")) {
            let sentence = "show a token of --auth-file: Authorization: Bearer TOKEN";
            let Answer { status, body } = Answer::refusal(401, sentence);
            let answer = web::Answer::json(status, &body).with(&[("WWW-Authenticate", "Bearer")]);
            return self.site.answer(now, ask.id, answer, out);
        }
        let done = match ask.to {
            To::Register => self.register(now, &ask, out),
            To::Execute => self.execute(now, &ask, out),
            To::Batch => self.batch(now, &ask, out),
            To::Status => self.about(now, &ask, Question::Status, out),
            To::Result => self.result(now, &ask, out),
            To::Cancel => self.about(now, &ask, Question::Cancel, out),
            To::Retry => self.about(now, &ask, Question::Retry, out),
            To::Tasks => self.list_tasks(&ask, out),
            To::Root | To::Workers | To::Functions => {
                self.look(ask.id, ask.to, 0, 0, out);
                Ok(())
            }
        };
        if let Err(answer) = done {
            self.answer(now, ask.id, answer.status, Blob::from(answer.body), out);
        }
    }

    /// Who waits for an answer, for other cores.
    pub(crate) fn asker(&self, id: AskId) -> Asker {
        let (conn, ticket) = id.to_bits();
        Asker { core: self.seat.core.0, conn, ticket }
    }

    fn register(
        &mut self,
        now: Now,
        ask: &Ask<'_, To>,
        out: &mut impl Outbox<Said = Said>,
    ) -> Result<(), Answer> {
        let form = form::register(&ask.body)?;
        runs(form.runtime.as_deref())?;
        let decoded = base64::decode(form.payload.as_bytes());
        let code = match decoded {
            Ok(code) if !self.config.manners.checks => code,
            Ok(code) => match pickle::function(&code) {
                Ok(_) => code,
                Err(flaw) => {
                    return Err(Answer::refusal(400, &format!("the payload cannot be a function: {flaw}")));
                }
            },
            Err(_) if !self.config.manners.checks => form.payload.into_owned().into_bytes(),
            Err(why) => {
                return Err(Answer::refusal(
                    400,
                    &format!("the payload cannot be a function: as base64, {why}"),
                ));
            }
        };
        fits(&code)?;
        if let Some(refusal) = self.refusal(0, code.len()) {
            return Err(refusal);
        }
        if self.functions.len() >= self.config.limits.functions_max {
            return Err(Answer::refusal(429, "too many functions are registered"));
        }
        let id = self.owners.draw(self.seat.core, &mut self.ids);
        let code = Blob::from(code);
        for core in self.seat.other_cores() {
            let (code, blob) = packed(&code);
            out.tell(core, Said::Function { id: id.0, name: form.name.clone().into_owned(), code }, blob);
        }
        self.registering.insert(id, Registering { asker: ask.id, left: self.seat.cores - 1, is_kept: false });
        let record = Record::Function { id, name: &form.name, code: &code };
        let at_once = self.keep.log(&record, Some(Then::Registered(id)), out);
        self.functions.add(id, Function::new(&form.name, code));
        if let Some(then) = at_once {
            self.carry_out(now, then, out);
        }
        Ok(())
    }

    /// A function is registered when it is kept here and known everywhere.
    pub(crate) fn answer_registered(&mut self, now: Now, id: Uuid, out: &mut impl Outbox<Said = Said>) {
        let is_done = |registering: &Registering| registering.is_kept && registering.left == 0;
        if !self.registering.get(&id).is_some_and(is_done) {
            return;
        }
        let Some(Registering { asker, .. }) = self.registering.remove(&id) else { return };
        let answer = Answer::created(&self.config.manners, "function_id", id);
        self.answer(now, asker, answer.status, Blob::from(answer.body), out);
    }

    /// A call as it is kept: which function, how long, what arguments.
    fn call(&self, form: &Execute<'_>) -> Result<((Uuid, u32), Vec<u8>), Answer> {
        if self.functions.get(form.function).is_none() {
            let sentence = format!("there is no function {}", form.function);
            return Err(Answer::refusal(self.config.manners.unknown, &sentence));
        }
        // What is no base64 is for the worker to say: its task fails.
        let payload = base64::decode(form.payload.as_bytes());
        let payload = payload.unwrap_or_else(|_| form.payload.as_bytes().to_vec());
        fits(&payload)?;
        let timeout = self.config.limits.task_timeout.as_millis();
        let usual = u32::try_from(timeout).unwrap_or(u32::MAX);
        Ok(((form.function, form.timeout_ms.unwrap_or(usual)), payload))
    }

    fn execute(
        &mut self,
        now: Now,
        ask: &Ask<'_, To>,
        out: &mut impl Outbox<Said = Said>,
    ) -> Result<(), Answer> {
        let form = form::execute(&ask.body)?;
        let (what, payload) = self.call(&form)?;
        let asker = self.asker(ask.id);
        let wait = self.wait(ask)?;
        if let Some(key) = ask.head.fields.get("idempotency-key") {
            return self.execute_once(now, asker, what, key, payload, wait, out);
        }
        if let Some(refusal) = self.refusal(1, payload.len()) {
            return Err(refusal);
        }
        self.accept_for(now, asker, what, Blob::from(payload), b"", wait, out);
        Ok(())
    }

    /// How long the client waits for a result, in milliseconds.
    fn wait(&self, ask: &Ask<'_, To>) -> Result<u64, Answer> {
        let seconds = match ask.query().get("wait") {
            None => 0.0,
            Some(text) => form::query_seconds(&text, "wait")?,
        };
        Ok((seconds.min(self.config.limits.wait_max.as_secs_f64()) * 1000.0) as u64)
    }

    /// The same key for the same function is the same task, on the core that has the key.
    fn execute_once(
        &mut self,
        now: Now,
        asker: Asker,
        what: (Uuid, u32),
        key: &[u8],
        payload: Vec<u8>,
        wait: u64,
        out: &mut impl Outbox<Said = Said>,
    ) -> Result<(), Answer> {
        if key.is_empty() || key.len() > KEY_MAX {
            return Err(Answer::refusal(400, "an Idempotency-Key has 1 to 255 bytes"));
        }
        let key = [&what.0.0.to_be_bytes()[..], key].concat();
        let owner = self.owners.of_bytes(&key);
        let payload = Blob::from(payload);
        if owner == self.seat.core {
            self.call_keyed(now, asker, what, &key, payload, wait, out);
        } else {
            let (payload, blob) = packed(&payload);
            let (function, timeout_ms) = (what.0.0, what.1);
            out.tell(owner, Said::Call { asker, function, timeout_ms, wait, key, payload }, blob);
        }
        Ok(())
    }

    fn batch(
        &mut self,
        now: Now,
        ask: &Ask<'_, To>,
        out: &mut impl Outbox<Said = Said>,
    ) -> Result<(), Answer> {
        let forms = form::batch(&ask.body, self.config.limits.batch_max)?;
        let calls: Vec<_> = forms.iter().map(|form| self.call(form)).collect::<Result<_, _>>()?;
        let bytes = calls.iter().map(|(_, payload)| payload.len()).sum();
        if let Some(refusal) = self.refusal(calls.len(), bytes) {
            return Err(refusal);
        }
        let mut ids = Vec::with_capacity(calls.len());
        for (what, payload) in calls {
            ids.push(self.accept(now, what, Blob::from(payload), b"", None, out));
        }
        let answer = Answer::created_all(&self.config.manners, &ids);
        if let Some(then) = self.keep.after_all(Then::Answer(self.asker(ask.id), answer)) {
            self.carry_out(now, then, out);
        }
        Ok(())
    }

    fn result(
        &mut self,
        now: Now,
        ask: &Ask<'_, To>,
        out: &mut impl Outbox<Said = Said>,
    ) -> Result<(), Answer> {
        let wait = self.wait(ask)?;
        self.about(now, ask, Question::Result(wait), out)
    }

    /// Something about a task, answered by its owner.
    fn about(
        &mut self,
        now: Now,
        ask: &Ask<'_, To>,
        what: Question,
        out: &mut impl Outbox<Said = Said>,
    ) -> Result<(), Answer> {
        let id = form::path_id(&ask.parameters.get("id"), "task_id")?;
        self.ask_owner(now, self.asker(ask.id), what, id, out);
        Ok(())
    }

    /// The core that has a task answers, this one or another.
    pub(crate) fn ask_owner(
        &mut self,
        now: Now,
        asker: Asker,
        what: Question,
        id: Uuid,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let owner = self.owners.of(id);
        if owner == self.seat.core {
            self.question(now, asker, what, id, out);
        } else {
            out.tell(owner, Said::Ask { asker, what, task: id.0 }, None);
        }
    }
}

/// Whether there is what runs a function: Python, which is meant too where nothing is said.
fn runs(runtime: Option<&str>) -> Result<(), Answer> {
    match runtime {
        None | Some("python") => Ok(()),
        Some("wasm") => Err(Answer::refusal(400, "WebAssembly functions are not there yet")),
        Some(_) => Err(Answer::refusal(400, "the runtime is unknown: there is \"python\"")),
    }
}

/// Whether bytes can travel to a worker.
fn fits(bytes: &[u8]) -> Result<(), Answer> {
    if bytes.len() <= PAYLOAD_MAX {
        return Ok(());
    }
    Err(Answer::refusal(413, &format!("a payload has at most {PAYLOAD_MAX} bytes")))
}

impl From<Wrong> for Answer {
    fn from(wrong: Wrong) -> Self {
        Self { status: 422, body: wrong.0.into_bytes() }
    }
}
