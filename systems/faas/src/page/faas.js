// The page of faas: figures come as they change, lists are asked for while somebody looks.
"use strict";

const LISTED_MAX = 100;
const LISTS_EVERY_MS = 2000;

const rate = kit.rates();
const plot = kit.lines(document.getElementById("plot"), { label: "tasks accepted and ended a second" });

const workers = kit.table(
  document.getElementById("workers"),
  [
    { name: "Worker", of: (row) => row.worker_id.slice(0, 8) },
    { name: "Mode", of: (row) => row.mode },
    { name: "Core", of: (row) => row.core, number: true },
    { name: "Process", of: (row) => row.pid, number: true },
    { name: "Slots", of: (row) => row.slots, number: true },
    { name: "Has", of: (row) => row.tasks, number: true },
    { name: "Done", of: (row) => row.done, show: kit.whole, number: true },
    { name: "Failed", of: (row) => row.failed, show: kit.whole, number: true },
    { name: "Python", of: (row) => row.python },
    { name: "dill", of: (row) => row.dill || "none" },
    { name: "Jails that hold", of: (row) => row.jails.join(", ") || "none" },
  ],
  (row) => row.worker_id,
);

const functions = kit.table(
  document.getElementById("functions"),
  [
    { name: "Function", of: (row) => row.function_id },
    { name: "Name", of: (row) => row.name },
    { name: "Size", of: (row) => row.bytes, show: kit.bytes, number: true },
    { name: "Pickle", of: (row) => (row.protocol === null ? "none" : `protocol ${row.protocol}`) },
    { name: "Runs lately", of: (row) => (row.ran_us === null ? -1 : row.ran_us), show: (us) => (us < 0 ? "–" : kit.micros(us)), number: true },
  ],
  (row) => row.function_id,
);

const tasks = kit.table(
  document.getElementById("list"),
  [
    { name: "Task", of: (row) => row.task_id },
    { name: "Function", of: (row) => row.function_id.slice(0, 8) },
    { name: "Status", of: (row) => row.status },
    { name: "State", of: (row) => row.state },
    { name: "Attempts", of: (row) => row.attempts, number: true },
    { name: "Accepted", of: (row) => row.accepted_at, show: (at) => new Date(at * 1000).toLocaleTimeString("en-GB") },
  ],
  (row) => row.task_id,
);

function heard(event) {
  const sum = (name) => event.cores.reduce((all, core) => all + (core[name] || 0), 0);
  const ended = (how) => sum(`faas_tasks_ended_total{how="${how}"}`);
  const [completed, failed, cancelled, dead] = ["completed", "failed", "cancelled", "dead"].map(ended);
  const accepted = sum("faas_tasks_accepted_total");
  const per = {
    accepted: rate("accepted", accepted, event.at_ms),
    completed: rate("completed", completed, event.at_ms),
    failed: rate("failed", failed + cancelled + dead, event.at_ms),
  };
  plot.push(event.at_ms, per);
  kit.say("rate", kit.number(per.completed + per.failed));
  kit.say("rate-more", `${kit.whole(completed)} completed in all`);
  kit.say("queued", kit.whole(sum("faas_tasks_ready") + sum("faas_tasks_delayed")));
  kit.say("queued-more", `${kit.whole(sum("faas_tasks_delayed"))} pause after a lost attempt`);
  kit.say("running", kit.whole(sum("faas_tasks_running")));
  kit.say("running-more", `${kit.whole(sum("faas_attempts_lost_total"))} attempts lost in all`);
  kit.say("failed", kit.whole(failed + cancelled + dead));
  kit.say("failed-more", `${kit.whole(dead)} given up, ${kit.whole(cancelled)} cancelled`);
  kit.say("workers-count", kit.whole(sum("faas_workers")));
  kit.say("workers-more", `${kit.whole(sum("faas_slots"))} slots`);
  kit.say("held", kit.bytes(sum("faas_bytes")));
  kit.say("held-more", `${kit.whole(sum("faas_tasks"))} tasks, ${kit.whole(sum("faas_functions"))} functions`);
}

function trouble(error) {
  const place = document.getElementById("trouble");
  place.hidden = !error;
  if (error) kit.say(place, error.message);
}

async function lists() {
  if (document.hidden) return;
  try {
    const state = document.getElementById("state").value;
    const [who, what, which, root] = await Promise.all([
      kit.ask("GET", "/workers"),
      kit.ask("GET", "/functions"),
      kit.ask("GET", `/tasks?state=${state}&limit=${LISTED_MAX}`),
      kit.ask("GET", "/"),
    ]);
    workers.tell(who.workers);
    functions.tell(what.functions);
    tasks.tell(which.tasks);
    const more = which.count > which.tasks.length ? `, ${which.tasks.length} shown` : "";
    kit.say("tasks-count", `${kit.whole(which.count)} tasks${more}`);
    kit.say("what", `${root.mode} mode on ${root.cores} cores, version ${root.version}`);
    const remarks = [...new Set(who.workers.map((worker) => worker.remarks).filter(Boolean))];
    kit.say("jails", who.workers.length ? remarks.join(" ") || "every jail holds" : "no worker is connected");
    trouble(null);
  } catch (error) {
    trouble(error);
  }
}

function choose(event) {
  const row = event.target.closest("tbody tr");
  if (!row) return;
  kit.say("chosen", row.children[0].textContent);
  document.getElementById("one").hidden = false;
}

async function act(method, path) {
  try {
    await kit.ask(method, path(document.getElementById("chosen").textContent));
    await lists();
  } catch (error) {
    trouble(error);
  }
}

document.getElementById("list").addEventListener("click", choose);
document.getElementById("cancel").addEventListener("click", () => act("DELETE", (id) => `/task/${id}`));
document.getElementById("retry").addEventListener("click", () => act("POST", (id) => `/task/${id}/retry`));
document.getElementById("state").addEventListener("change", lists);
document.addEventListener("visibilitychange", lists);
setInterval(lists, LISTS_EVERY_MS);
lists();
kit.live("/live", heard);
