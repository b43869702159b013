// Where units are drawn: trees by levels, grids as grids, rings as rings, anything else by springs. Above some hundred
// units, those that are near each other are drawn as one. Everything is decided by the network alone, so that whoever
// opens the same address sees the same picture.
"use strict";

const layout = (() => {
  /** So many units are drawn one by one. */
  const ALONE_MAX = 1000;
  /** Into so many others are gathered. */
  const CLUSTERS = 240;
  const SPRING_ROUNDS = 160;

  function neighbours(count, links) {
    const all = Array.from({ length: count }, () => []);
    for (const [a, b] of links) {
      all[a].push(b);
      all[b].push(a);
    }
    return all;
  }

  /** Gathers units into clusters: each belongs to the nearest of the centres, which lie apart. */
  function gather(count, links) {
    if (count <= ALONE_MAX) {
      return { of: Array.from({ length: count }, (_, unit) => unit), count, links };
    }
    const near = neighbours(count, links);
    const of = new Int32Array(count).fill(-1);
    const queue = [];
    const step = count / CLUSTERS;
    for (let cluster = 0; cluster < CLUSTERS; cluster += 1) {
      const centre = Math.floor(cluster * step);
      of[centre] = cluster;
      queue.push(centre);
    }
    for (let at = 0; at < queue.length; at += 1) {
      for (const other of near[queue[at]]) {
        if (of[other] < 0) {
          of[other] = of[queue[at]];
          queue.push(other);
        }
      }
    }
    for (let unit = 0; unit < count; unit += 1) if (of[unit] < 0) of[unit] = Math.floor(unit / step);
    const seen = new Map();
    for (const [a, b] of links) {
      const pair = [Math.min(of[a], of[b]), Math.max(of[a], of[b])];
      if (pair[0] !== pair[1]) seen.set(pair[0] * CLUSTERS + pair[1], pair);
    }
    return { of: Array.from(of), count: CLUSTERS, links: [...seen.values()] };
  }

  function random(seed) {
    let state = seed >>> 0;
    return () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 4294967296;
    };
  }

  /** Levels below the first unit, children beside each other above their own. */
  function tree(count, links) {
    const near = neighbours(count, links);
    const depth = new Array(count).fill(-1);
    const children = Array.from({ length: count }, () => []);
    const order = [0];
    depth[0] = 0;
    for (let at = 0; at < order.length; at += 1) {
      for (const other of near[order[at]]) {
        if (depth[other] < 0) {
          depth[other] = depth[order[at]] + 1;
          children[order[at]].push(other);
          order.push(other);
        }
      }
    }
    const wide = new Array(count).fill(1);
    for (const unit of [...order].reverse()) {
      if (children[unit].length) wide[unit] = children[unit].reduce((sum, child) => sum + wide[child], 0);
    }
    const deepest = Math.max(...depth, 1);
    // Broad trees go round, so that their leaves have room.
    const round = wide[0] > 24;
    const from = new Array(count).fill(0);
    const places = new Array(count);
    for (const unit of order) {
      let at = from[unit];
      for (const child of children[unit]) {
        from[child] = at;
        at += wide[child];
      }
      const middle = (from[unit] + wide[unit] / 2) / wide[0];
      const level = depth[unit] / deepest;
      const angle = middle * 2 * Math.PI - Math.PI / 2;
      places[unit] = round
        ? [0.5 + 0.5 * level * Math.cos(angle), 0.5 + 0.5 * level * Math.sin(angle)]
        : [middle, level];
    }
    return places;
  }

  function circle(count) {
    return Array.from({ length: count }, (_, unit) => {
      const angle = (2 * Math.PI * unit) / count - Math.PI / 2;
      return [0.5 + 0.5 * Math.cos(angle), 0.5 + 0.5 * Math.sin(angle)];
    });
  }

  function grid(count) {
    const width = Math.max(1, Math.ceil(Math.sqrt(count)));
    const last = Math.max(1, width - 1);
    return Array.from({ length: count }, (_, unit) => [(unit % width) / last, Math.floor(unit / width) / last]);
  }

  /** Fruchterman and Reingold 1991, with forces between near units only, found by a raster. */
  function springs(count, links) {
    const draw = random(count * 7919 + links.length);
    const places = Array.from({ length: count }, () => [draw(), draw()]);
    const ideal = 0.9 / Math.sqrt(count);
    const reach = ideal * 3;
    for (let round = 0; round < SPRING_ROUNDS; round += 1) {
      const push = Array.from({ length: count }, () => [0, 0]);
      const cells = new Map();
      const cell = (place) => Math.floor(place[0] / reach) * 4096 + Math.floor(place[1] / reach);
      places.forEach((place, unit) => {
        const key = cell(place);
        if (!cells.has(key)) cells.set(key, []);
        cells.get(key).push(unit);
      });
      places.forEach((place, unit) => {
        for (let right = -1; right <= 1; right += 1) {
          for (let down = -1; down <= 1; down += 1) {
            for (const other of cells.get(cell([place[0] + right * reach, place[1] + down * reach])) || []) {
              if (other === unit) continue;
              const x = place[0] - places[other][0] || (draw() - 0.5) * 1e-6;
              const y = place[1] - places[other][1] || (draw() - 0.5) * 1e-6;
              const far = Math.max(1e-6, Math.hypot(x, y));
              if (far > reach) continue;
              push[unit][0] += (x / far) * ((ideal * ideal) / far);
              push[unit][1] += (y / far) * ((ideal * ideal) / far);
            }
          }
        }
        // A little towards the middle, so that islands stay in sight.
        push[unit][0] += (0.5 - place[0]) * ideal * 0.4;
        push[unit][1] += (0.5 - place[1]) * ideal * 0.4;
      });
      for (const [a, b] of links) {
        const x = places[a][0] - places[b][0];
        const y = places[a][1] - places[b][1];
        const far = Math.hypot(x, y);
        const pull = far / ideal;
        push[a][0] -= x * pull;
        push[a][1] -= y * pull;
        push[b][0] += x * pull;
        push[b][1] += y * pull;
      }
      const warm = 0.1 * (1 - round / SPRING_ROUNDS) + 0.002;
      places.forEach((place, unit) => {
        const far = Math.hypot(...push[unit]);
        const step = Math.min(far, warm) / Math.max(far, 1e-9);
        place[0] += push[unit][0] * step;
        place[1] += push[unit][1] * step;
      });
    }
    return places;
  }

  /** Fills the unit square. */
  function fitted(places) {
    const span = (axis) => {
      const values = places.map((place) => place[axis]);
      const least = values.reduce((a, b) => Math.min(a, b), Infinity);
      const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
      return [least, most - least];
    };
    const [[left, width], [top, height]] = [span(0), span(1)];
    return places.map(([x, y]) => [width > 1e-9 ? (x - left) / width : 0.5, height > 1e-9 ? (y - top) / height : 0.5]);
  }

  /** Places in the unit square, by the family the label names or by what the links are. */
  function places(count, links, label) {
    const family = new URLSearchParams(label).get("family") || "";
    const made = (() => {
      if (count === 1) return [[0.5, 0.5]];
      if (family === "grid" && count <= ALONE_MAX) return grid(count);
      if (["ring", "watts-strogatz", "complete"].includes(family) && count <= ALONE_MAX) return circle(count);
      if (links.length === count - 1) return tree(count, links);
      return springs(count, links);
    })();
    return fitted(made);
  }

  return { gather, places };
})();
