// The page asks once a second for everything it shows, and shows it. Values become text, never markup.
"use strict";
const EVERY_MS = 1000;
const find = (id) => document.getElementById(id);
let before = null;

const cell = (row, text, kind) => {
  const made = row.insertCell();
  made.textContent = text ?? "";
  if (kind) made.className = kind;
  return made;
};

const bar = (row, share, ideal) => {
  const holder = document.createElement("div");
  holder.className = "bar";
  const part = document.createElement("i");
  part.style.width = `${100 * share}%`;
  const mark = document.createElement("b");
  mark.style.left = `${100 * ideal}%`;
  holder.append(part, mark);
  holder.title = `share ${(100 * share).toFixed(1)} %, ideal ${(100 * ideal).toFixed(1)} %`;
  cell(row, "").append(holder);
};

const button = (into, text, act) => {
  const made = document.createElement("button");
  made.textContent = text;
  made.onclick = act;
  into.append(made);
};

const say = async (promise) => {
  const answer = await promise;
  const text = await answer.text();
  find("outcome").textContent = answer.ok ? "" : text;
  refresh();
};

const json = { "Content-Type": "application/json" };
const add = (names) =>
  say(fetch("/add", { method: "POST", headers: json, body: JSON.stringify({ n: 1, hostnames: names }) }));
const remove = (name) =>
  say(fetch("/rm", { method: "DELETE", headers: json, body: JSON.stringify({ n: 1, hostnames: [name] }) }));
const kill = (name) => say(fetch(`/kill?hostname=${encodeURIComponent(name)}`, { method: "POST" }));

const show = (now, span) => {
  const rate = (count, old) => (span > 0 ? Math.max(0, (count - old) / span).toFixed(0) : "");
  const body = find("replicas");
  body.replaceChildren();
  for (const each of now.replicas) {
    const row = body.insertRow();
    cell(row, each.hostname);
    cell(row, each.state, each.state).title = each.trouble ?? "";
    cell(row, each.id, "number");
    cell(row, each.at);
    cell(row, each.misses, "number");
    cell(row, each.requests, "number");
    bar(row, each.share, each.ideal);
    const old = before?.replicas.find((other) => other.hostname === each.hostname);
    cell(row, rate(each.requests, old?.requests ?? each.requests), "number");
    const acts = cell(row, "");
    button(acts, "kill", () => kill(each.hostname));
    button(acts, "remove", () => remove(each.hostname));
  }
  find("summary").textContent =
    `${now.ring}: ${now.requests} requests, ${rate(now.requests, before?.requests ?? now.requests)} a second, ` +
    `p50 ${now.p50_us} µs, p99 ${now.p99_us} µs, ${now.clients} clients, ${now.waiting} waiting, ` +
    `${now.retries} retried, ${now.failed} failed`;
  const rings = find("rings");
  rings.replaceChildren();
  for (const [name, shares] of Object.entries(now.rings)) {
    const row = rings.insertRow();
    cell(row, name);
    shares.forEach((share) => cell(row, `${(100 * share).toFixed(1)} %`, "number"));
  }
};

const refresh = async () => {
  try {
    const now = await (await fetch("/replicas")).json();
    now.at = performance.now();
    show(now, before ? (now.at - before.at) / 1000 : 0);
    before = now;
  } catch (wrong) {
    find("summary").textContent = `no answer: ${wrong}`;
  }
};

find("add").onsubmit = (event) => {
  event.preventDefault();
  const name = event.target.hostname.value.trim();
  add(name ? [name] : []);
};
find("explain").onsubmit = async (event) => {
  event.preventDefault();
  const key = encodeURIComponent(event.target.key.value);
  find("explained").textContent = JSON.stringify(await (await fetch(`/explain?key=${key}`)).json(), null, 1);
};
refresh();
setInterval(refresh, EVERY_MS);
