// The hash table's page: what each core counts, and how fast it grows.
"use strict";

const rate = kit.rates();
const lines = kit.lines(document.getElementById("rates"), { label: "Requests a second by core" });
const slots = kit.bars(document.getElementById("slots"));
const held = kit.bars(document.getElementById("held"));

const cores = kit.table(
  document.getElementById("cores"),
  [
    { name: "Core", of: (row) => row.core, number: true },
    { name: "Requests/s", of: (row) => row.rate, show: kit.number, number: true },
    { name: "Hops/s", of: (row) => row.hop_rate, show: kit.number, number: true },
    { name: "Hop p50", of: (row) => row.hop_p50_us, show: kit.micros, number: true },
    { name: "Hop p99", of: (row) => row.hop_p99_us, show: kit.micros, number: true },
    { name: "Keys", of: (row) => row.keys, show: kit.whole, number: true },
    { name: "Bytes", of: (row) => row.bytes, show: kit.bytes, number: true },
    { name: "Clients", of: (row) => row.clients, show: kit.whole, number: true },
    { name: "Hits", of: (row) => row.hit_share, show: kit.share, number: true },
    { name: "In/s", of: (row) => row.in_rate, show: kit.bytes, number: true },
    { name: "Out/s", of: (row) => row.out_rate, show: kit.bytes, number: true },
    { name: "Longest", of: (row) => row.longest_us, show: kit.micros, number: true },
    { name: "Stalls", of: (row) => row.stalls, show: kit.whole, number: true },
  ],
  (row) => row.core,
);

const commands = kit.table(
  document.getElementById("commands"),
  [
    { name: "Command", of: (row) => row.name },
    { name: "A second", of: (row) => row.rate, show: kit.number, number: true },
    { name: "Since the start", of: (row) => row.count, show: kit.whole, number: true },
  ],
  (row) => row.name,
);

function row_of(told, core, at_ms) {
  const grows = (name) => rate(`${core}.${name}`, told[name], at_ms);
  const looked_up = told.hits + told.misses;
  const seen = grows("commands");
  return {
    ...told,
    core,
    rate: seen,
    hop_rate: grows("hops"),
    in_rate: grows("received"),
    out_rate: grows("sent"),
    hit_share: looked_up ? told.hits / looked_up : NaN,
  };
}

function tell(told) {
  const at_ms = told.at_ms;
  const rows = told.cores.map((core, index) => row_of(core, index, at_ms));
  const sum = (of) => rows.reduce((total, row) => total + of(row), 0);
  const all = sum((row) => row.rate);
  kit.say("rate", kit.number(all));
  kit.say("rate-more", `${kit.whole(sum((row) => row.commands))} since the start`);
  kit.say("keys", kit.number(sum((row) => row.keys)));
  kit.say("keys-more", `${kit.whole(sum((row) => row.evicted))} evicted, ${kit.whole(sum((row) => row.expired))} expired`);
  kit.say("bytes", kit.bytes(sum((row) => row.bytes)));
  kit.say("bytes-more", `${kit.bytes(told.resident)} of the process`);
  kit.say("clients", kit.whole(sum((row) => row.clients)));
  kit.say("clients-more", `on ${rows.length} ${rows.length === 1 ? "core" : "cores"}`);
  kit.say("hops", all > 0 ? (sum((row) => row.hop_rate) / all).toFixed(2) : "–");
  kit.say("hops-more", `${kit.number(sum((row) => row.hop_rate))} a second`);
  const most = (of) => Math.max(...rows.map(of));
  kit.say("hop", kit.micros(most((row) => row.hop_p99_us)));
  kit.say("hop-more", `p50 ${kit.micros(most((row) => row.hop_p50_us))}, longest event ${kit.micros(most((row) => row.longest_us))}`);
  lines.push(at_ms, Object.fromEntries(rows.map((row) => [`core ${row.core}`, row.rate])));
  const owned = sum((row) => row.slots);
  slots.tell(
    rows.map((row) => ({ name: `core ${row.core}`, value: row.slots, figure: kit.whole(row.slots) })),
    { even: owned / rows.length },
  );
  held.tell(
    rows.map((row) => ({ name: `core ${row.core}`, value: row.bytes, figure: kit.bytes(row.bytes) })),
    { even: sum((row) => row.bytes) / rows.length },
  );
  cores.tell(rows);
  commands.tell(
    Object.entries(told.commands)
      .map(([name, count]) => ({ name, count, rate: rate(`command.${name}`, count, at_ms) }))
      .sort((one, other) => other.count - one.count),
  );
}

kit.live("/live", tell);
