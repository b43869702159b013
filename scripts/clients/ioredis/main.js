// The Node library ioredis, plain and in its cluster form, unmodified. RESP and CORES come from _beside.py.
"use strict";

const assert = require("node:assert/strict");
const Redis = require("ioredis");

const addresses = (text) => text.split(",").map((each) => ({ host: each.replace(/:\d+$/, ""), port: Number(each.split(":").pop()) }));
const [shared] = addresses(process.env.RESP);
const cores = addresses(process.env.CORES);
const PATIENCE = { commandTimeout: 30_000, maxRetriesPerRequest: 1, retryStrategy: () => null };

const plain = () => new Redis({ ...shared, ...PATIENCE });
const cluster = (options) =>
  new Redis.Cluster([shared], { redisOptions: PATIENCE, clusterRetryStrategy: () => null, ...options });

const numbers = (count) => Array.from({ length: count }, (_, number) => number);

const tests = {
  async "strings and expiry"() {
    await using(plain(), async (r) => {
      assert.equal(await r.set("k", "v", "EX", 100), "OK");
      assert.equal(await r.set("k", "w", "NX"), null);
      assert.equal(await r.set("k", "w", "KEEPTTL", "GET"), "v");
      assert.ok((await r.ttl("k")) > 0);
      assert.deepEqual(await r.getBuffer("k"), Buffer.from("w"));
      assert.equal(await r.getex("k", "PERSIST"), "w");
      assert.equal(await r.incrbyfloat("f", 0.5), "0.5");
      assert.equal(await r.del("k", "f"), 2);
    });
  },

  async "several keys over all cores"() {
    await using(plain(), async (r) => {
      const pairs = numbers(500).flatMap((number) => [`several:${number}`, String(number)]);
      assert.equal(await r.mset(pairs), "OK");
      assert.deepEqual(await r.mget(pairs.filter((_, index) => index % 2 === 0)), numbers(500).map(String));
      const found = new Set();
      for await (const keys of r.scanStream({ match: "several:*", count: 50 })) keys.forEach((key) => found.add(key));
      assert.equal(found.size, 500);
      assert.equal(await r.unlink([...found]), 500);
    });
  },

  async "a pipeline in order"() {
    await using(plain(), async (r) => {
      const pipeline = r.pipeline();
      for (const number of numbers(1000)) pipeline.set(`p${number}`, number).incr(`p${number}`);
      const answers = await pipeline.exec();
      assert.deepEqual(answers, numbers(1000).flatMap((number) => [[null, "OK"], [null, number + 1]]));
    });
  },

  async "requests of one turn are sent together"() {
    await using(new Redis({ ...shared, ...PATIENCE, enableAutoPipelining: true }), async (r) => {
      const answers = await Promise.all(numbers(200).map((number) => r.set(`auto${number}`, number).then(() => r.get(`auto${number}`))));
      assert.deepEqual(answers, numbers(200).map(String));
    });
  },

  async "an error is an error"() {
    await using(plain(), async (r) => {
      await r.set("word", "not a number");
      await assert.rejects(r.incr("word"), /ERR value is not an integer or out of range/);
      await assert.rejects(r.call("NOSUCH", "x"), /ERR unknown command/);
    });
  },

  async "the cluster is found and every key with it"() {
    await using(cluster(), async (r) => {
      await Promise.all(numbers(1000).map((number) => r.set(`c${number}`, number)));
      assert.deepEqual(await Promise.all(numbers(1000).map((number) => r.get(`c${number}`))), numbers(1000).map(String));
      const ports = r.nodes("master").map((node) => node.options.port);
      assert.deepEqual(ports.sort(), cores.map((core) => core.port).sort());
    });
  },

  async "the cluster takes several keys of one hash tag"() {
    await using(cluster(), async (r) => {
      assert.equal(await r.mset("{t}a", 1, "{t}b", 2), "OK");
      assert.deepEqual(await r.mget("{t}a", "{t}b", "{t}c"), ["1", "2", null]);
      assert.deepEqual(await r.pipeline().incr("{t}a").incr("{t}b").exec(), [[null, 2], [null, 3]]);
    });
  },

  async "the cluster with replicas to read from and pipelines made by the library"() {
    await using(cluster({ scaleReads: "slave", enableAutoPipelining: true }), async (r) => {
      await Promise.all(numbers(200).map((number) => r.set(`s${number}`, number)));
      assert.deepEqual(await Promise.all(numbers(200).map((number) => r.get(`s${number}`))), numbers(200).map(String));
    });
  },
};

async function using(client, use) {
  // Without a listener the library prints each failure to connect; the rejected command tells it once.
  client.on("error", () => {});
  try {
    await use(client);
  } finally {
    client.disconnect();
  }
}

async function main() {
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
      console.log(`  ${name}: held`);
    } catch (error) {
      failed += 1;
      const last = error.lastNodeError ? ` (${error.lastNodeError.message})` : "";
      console.log(`  ${name}: FAILED\n${error.stack}${last}`);
    }
  }
  console.log(`  ${Object.keys(tests).length - failed} held, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
}

main();
