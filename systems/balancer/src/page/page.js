// The balancer's page: asks once a second for everything it shows, while it is seen. Values become text, never markup.
"use strict";

const EVERY_MS = 1000;
const KINDS = { healthy: "good", starting: "warn", suspect: "warn", draining: "warn", ejected: "bad", dead: "bad" };

const find = (id) => document.getElementById(id);
const rate = kit.rates();
const lines = kit.lines(find("rates"), { label: "Requests a second by replica" });
/** Rows and bars by the replica's name, so that a button stays the same while one aims at it. */
const rows = new Map();
const bars = new Map();
/** A replica's colour, kept while it is there. */
const colours = new Map();
let asked_at = 0;
let is_paused = false;

function colour(name) {
  if (!colours.has(name)) {
    const used = new Set(colours.values());
    let index = 0;
    while (used.has(index)) index += 1;
    colours.set(name, index);
  }
  return kit.colour(colours.get(name));
}

function state(name, text) {
  const place = document.querySelector("[data-kit=state]");
  place.dataset.state = name;
  kit.say(place, text);
}

// ---- what buttons do

async function act(promise, done) {
  try {
    const answer = await promise;
    kit.say("outcome", done(answer));
  } catch (wrong) {
    kit.say("outcome", wrong.message);
  }
  refresh();
}

const remove = (name) => act(kit.ask("DELETE", "/rm", { n: 1, hostnames: [name] }), () => `${name} was removed.`);
const kill = (name) =>
  act(kit.ask("POST", `/kill?hostname=${encodeURIComponent(name)}`), () => `${name} was killed; another takes its name.`);
const add = (names) =>
  act(kit.ask("POST", "/add", { n: 1, hostnames: names }), (answer) => `There are ${answer.message.N} replicas.`);
const reload = () =>
  act(kit.ask("POST", "/reload"), (answer) => answer.message.held_back.join("; ") || "The configuration was read again.");

// ---- replicas

function made_row(name) {
  const cells = ["", "", "number", "number", "number", "", "number", "number", ""].map((kind) =>
    kit.element("td", { class: kind || null }),
  );
  const square = kit.element("i", {});
  square.style.cssText = `display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:6px;background:${colour(name)}`;
  cells[0].append(square, name);
  cells[8].append(
    kit.element("button", { type: "button", onclick: () => kill(name) }, "Kill"),
    kit.element("button", { type: "button", onclick: () => remove(name) }, "Remove"),
  );
  return { cells, row: kit.element("tr", {}, ...cells) };
}

function tell_replicas(all) {
  const body = find("replicas");
  for (const each of all) {
    if (!rows.has(each.hostname)) {
      rows.set(each.hostname, made_row(each.hostname));
      body.append(rows.get(each.hostname).row);
    }
    const { cells } = rows.get(each.hostname);
    kit.say(cells[1], each.state);
    cells[1].className = KINDS[each.state] || "";
    cells[1].title = each.trouble || "";
    kit.say(cells[2], `${each.since_s} s`);
    kit.say(cells[3], each.misses);
    kit.say(cells[4], each.id);
    kit.say(cells[5], each.at || "–");
    kit.say(cells[6], kit.whole(each.requests));
    kit.say(cells[7], kit.number(each.rate));
  }
  forget(rows, all, ({ row }) => row.remove());
}

function tell_shares(all) {
  const most = Math.max(0.01, ...all.map((each) => Math.max(each.share, each.ideal)));
  const part = (value) => `${Math.min(100, (100 * value) / most)}%`;
  for (const each of all) {
    if (!bars.has(each.hostname)) {
      const made = {
        fill: kit.element("div", { class: "fill" }),
        even: kit.element("div", { class: "even" }),
        figure: kit.element("span", { class: "figure" }),
      };
      made.fill.style.background = colour(each.hostname);
      const track = kit.element("div", { class: "track" }, made.fill, made.even);
      made.row = kit.element("div", { class: "row" }, kit.element("span", {}, each.hostname), track, made.figure);
      bars.set(each.hostname, made);
      find("shares").append(made.row);
    }
    const made = bars.get(each.hostname);
    made.fill.style.width = part(each.share);
    made.even.style.left = part(each.ideal);
    kit.say(made.figure, `${kit.share(each.share)}, ideal ${kit.share(each.ideal)}`);
  }
  forget(bars, all, ({ row }) => row.remove());
}

function forget(map, all, end) {
  for (const [name, made] of map) {
    if (!all.some((each) => each.hostname === name)) {
      end(made);
      map.delete(name);
      colours.delete(name);
    }
  }
}

// ---- rings

function tell_rings(rings, used, names, ideals) {
  find("rings").replaceChildren(
    ...Object.entries(rings).map(([ring, anew]) => {
      // The ring of this program is as it is; the others are as they would be, had all joined in this order.
      const shares = ring === used ? ideals : anew;
      const parts = shares.map((share, index) => {
        const made = kit.element("i", { title: `${names[index]}: ${kit.share(share)}` });
        made.style.cssText = `width:${100 * share}%;background:${colour(names[index])}`;
        return made;
      });
      const [most, least] = [Math.max(...shares), Math.min(...shares)];
      const figure = shares.length ? `${kit.share(least)} to ${kit.share(most)}` : "–";
      const stack = kit.element("div", { class: "stack", role: "img", "aria-label": `${ring}: ${figure}` }, ...parts);
      const name = ring === used ? `▸ ${ring}` : ring;
      const row = kit.element("div", { class: "row" }, kit.element("span", {}, name), stack);
      row.append(kit.element("span", { class: "figure" }, figure));
      row.classList.toggle("used", ring === used);
      return row;
    }),
  );
  find("ring-key").replaceChildren(
    ...names.map((name) => {
      const square = kit.element("i", {});
      square.style.background = colour(name);
      return kit.element("span", {}, square, name);
    }),
  );
}

// ---- all of it

function tell(told) {
  const at_ms = performance.now();
  const all = told.replicas.map((each) => ({ ...each, rate: rate(each.hostname, each.requests, at_ms) }));
  const healthy = all.filter((each) => each.state === "healthy").length;
  kit.say("what", `${told.ring}, keys from ${told.key}`);
  kit.say("rate", kit.number(rate("all", told.requests, at_ms)));
  kit.say("rate-more", `${kit.whole(told.requests)} since the start`);
  kit.say("p50", kit.micros(told.p50_us));
  kit.say("p99", kit.micros(told.p99_us));
  kit.say("p99-more", `since the start ${kit.micros(told.p99_ever_us)}`);
  kit.say("clients", kit.whole(told.clients));
  kit.say("clients-more", `${kit.whole(told.waiting)} wait for a replica`);
  kit.say("failed", kit.whole(told.failed));
  kit.say("failed-more", `${kit.whole(told.retries)} tried again elsewhere`);
  kit.say("healthy", healthy);
  kit.say("healthy-more", `of ${all.length}`);
  tell_replicas(all);
  tell_shares(all);
  lines.push(at_ms, Object.fromEntries(all.map((each) => [each.hostname, each.rate])));
  const of = (part) => all.map((each) => each[part]);
  tell_rings(told.rings, told.ring, of("hostname"), of("ideal"));
}

async function refresh() {
  asked_at = performance.now();
  try {
    tell(await kit.ask("GET", "/replicas"));
    if (!is_paused) state("live", "live");
  } catch (wrong) {
    state("lost", "no connection");
  }
}

function pause() {
  is_paused = !is_paused;
  kit.say("pause", is_paused ? "Go on" : "Pause");
  find("pause").setAttribute("aria-pressed", String(is_paused));
  if (is_paused) state("paused", "paused");
  else refresh();
}

find("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = event.target.hostname.value.trim();
  event.target.hostname.value = "";
  add(name ? [name] : []);
});
find("explain").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const told = await kit.ask("GET", `/explain?key=${encodeURIComponent(event.target.key.value)}`);
    const order = told.candidates.map((each) => `${each.hostname} (${each.in_flight} of ${each.bound})`).join(", ");
    kit.say("explained", `${told.chosen ?? "nobody"}: ${told.why}. In order: ${order}`);
  } catch (wrong) {
    kit.say("explained", wrong.message);
  }
});
find("reload").addEventListener("click", reload);
find("pause").addEventListener("click", pause);
kit.keys.set("p", pause);
setInterval(() => {
  if (!is_paused && !document.hidden) refresh();
}, EVERY_MS);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !is_paused && performance.now() - asked_at > EVERY_MS) refresh();
});
refresh();
