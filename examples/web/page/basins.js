// One rule from starts all over the domain: where they are, and which minimum each ends in.

import { drawGround } from "./map.js";
import { Plot, significant } from "./plot.js";
import { sample } from "./theme.js";

const part = (id) => document.getElementById(id);
// Of playing all steps.
const SECONDS = 4;
// How much of the colour there is, from the fastest quarter to the slowest.
const SHADES = [1, 0.72, 0.5, 0.3];

export class Basins {
  #number = 0;
  #frame = null;

  // `now()` gives what is shown: { course, setting, entry, relief, theme, titles, isStill }.
  constructor(now, moved) {
    this.now = now;
    this.of = 0;
    this.across = 64;
    this.moments = [];
    part("of").addEventListener("change", () => {
      this.of = Number(part("of").value);
      moved();
      this.run();
    });
    part("across").addEventListener("change", () => {
      this.across = Number(part("across").value);
      moved();
      this.run();
    });
    part("descend").addEventListener("click", () => this.run());
    new ResizeObserver(() => this.draw()).observe(part("flock"));
  }

  // Of a link.
  read(hash) {
    const number = (name, otherwise) => Number(hash.match(new RegExp(`[#&]${name}=(\\d+)`))?.[1] ?? otherwise);
    this.of = number("of", 0);
    this.across = number("basins", 64);
  }

  written() {
    return `&basins=${this.across}&of=${this.of}`;
  }

  fill() {
    const { titles } = this.now();
    part("of").replaceChildren(...titles.map((title, index) => new Option(title, index, false, index === this.of)));
    const sizes = [...new Set([32, 64, 128, this.across])].sort((a, b) => a - b);
    const options = sizes.map((size) => new Option(`${size} × ${size}`, size, false, size === this.across));
    part("across").replaceChildren(...options);
  }

  stop() {
    this.#number += 1;
    cancelAnimationFrame(this.#frame);
  }

  async run() {
    this.stop();
    this.fill();
    const number = this.#number;
    const shown = this.now();
    const { course, setting, isStill } = shown;
    this.moments = [];
    this.fates = null;
    this.outcome = null;
    this.setting = setting;
    this.shown = 0;
    const say = (text) => (part("basins-said").textContent = text);
    say("Descending …");
    part("basins-part").dataset.state = "running";
    const count = this.across * this.across;
    const observe = async (numbers, fates) => {
      if (number !== this.#number) return false;
      for (let at = 0; at < numbers.length; at += 1 + 2 * count) {
        this.moments.push({ step: numbers[at], places: numbers.subarray(at + 1, at + 1 + 2 * count) });
      }
      this.fates = fates;
      if (isStill) this.shown = this.moments.length - 1;
      else if (this.moments.length === 1) this.play(setting.steps);
      if (isStill) this.draw();
      // The page's turn.
      await new Promise((resume) => setTimeout(resume));
      return number === this.#number;
    };
    try {
      const outcome = JSON.parse(await course.descend(JSON.stringify(setting), this.of, this.across, observe));
      if (number !== this.#number) return;
      this.outcome = outcome;
      say(this.summary());
      this.draw();
      part("basins-part").dataset.state = "done";
    } catch (error) {
      if (number !== this.#number) return;
      cancelAnimationFrame(this.#frame);
      say(error.message);
      part("basins-part").dataset.state = "failed";
    }
  }

  play(steps) {
    let step = 0;
    let before = performance.now();
    const turn = (now) => {
      step += (steps * (now - before)) / (1000 * SECONDS);
      before = now;
      // No further than what is there.
      step = Math.min(step, this.moments.at(-1).step);
      while (this.shown + 1 < this.moments.length && this.moments[this.shown + 1].step <= step) this.shown += 1;
      this.draw();
      if (step < steps) this.#frame = requestAnimationFrame(turn);
    };
    this.#frame = requestAnimationFrame(turn);
  }

  summary() {
    const { shares, quarters, reach } = this.outcome;
    const percent = (share) => `${(100 * share).toFixed(1)} %`;
    const [lowest, others] = shares;
    const text = `${this.across ** 2} starts: ${percent(lowest)} end in a lowest minimum, ${percent(others)} in another, ${percent(Math.max(0, 1 - lowest - others))} in none.`;
    if (!quarters) return `${text} None comes within ${significant(reach, 2)} of a minimum.`;
    return `${text} Within ${significant(reach, 2)} of it after at most ${quarters.join(", ")} steps, from strong to pale.`;
  }

  draw() {
    const { entry, theme } = this.now();
    if (part("basins-part").hidden || entry.domain.length < 2 || this.moments.length === 0) return;
    const [x, y] = entry.domain;
    const axes = (names) => [
      { low: x[0], high: x[1], label: names[0] },
      { low: y[0], high: y[1], label: names[1] },
    ];
    this.drawFlock(new Plot(part("flock"), theme, ...axes(["x", "y"])), theme);
    this.drawCells(new Plot(part("cells"), theme, ...axes(["x of the start", "y of the start"])), theme);
    const steps = this.moments[this.shown].step;
    part("flock-help").textContent = `All points after ${steps} steps, in the colours of the minima that they are in at the end.`;
    this.drawMinima(entry, theme);
  }

  colour(start, theme) {
    const minimum = this.fates[2 * start];
    return minimum < 0 ? theme.faint : theme.series[minimum % theme.series.length];
  }

  drawFlock(plot, theme) {
    const { relief } = this.now();
    this.ground = drawGround(plot, relief.levels, theme, this.ground);
    plot.axes(false);
    const { places } = this.moments[this.shown];
    const size = this.across > 64 ? 1.5 : 2.5;
    plot.inside((context) => {
      for (let start = 0; start < places.length / 2; start++) {
        const [a, b] = [places[2 * start], places[2 * start + 1]];
        if (!Number.isFinite(a) || !Number.isFinite(b)) continue;
        const [x, y] = plot.place(a, b);
        context.fillStyle = this.colour(start, theme);
        context.fillRect(x - size / 2, y - size / 2, size, size);
      }
    });
  }

  // A cell for each start: the colour is the minimum's, the shade says how soon.
  drawCells(plot, theme) {
    const { context, rect } = plot;
    const picture = document.createElement("canvas");
    Object.assign(picture, { width: this.across, height: this.across });
    const pen = picture.getContext("2d");
    const until = this.moments[this.shown].step;
    const quarters = this.outcome?.quarters;
    for (let start = 0; start < this.across ** 2; start++) {
      const since = this.fates[2 * start + 1];
      if (since < 0 || since > until) continue;
      const slower = quarters ? quarters.findIndex((most) => since <= most) : 0;
      pen.globalAlpha = SHADES[Math.max(0, slower)];
      pen.fillStyle = this.colour(start, theme);
      pen.fillRect(start % this.across, this.across - 1 - Math.floor(start / this.across), 1, 1);
    }
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, rect.left, rect.top, rect.width, rect.height);
    plot.axes(false);
  }

  drawMinima(entry, theme) {
    const key = [theme.paper, this.outcome !== null, entry.name, this.#number].join();
    if (this.legend === key && part("minima").hasChildNodes()) return;
    this.legend = key;
    const ends = new Map();
    for (let at = 0; at < this.fates.length; at += 2) ends.set(this.fates[at], (ends.get(this.fates[at]) ?? 0) + 1);
    const share = (index) => (this.outcome ? `${((100 * (ends.get(index) ?? 0)) / this.across ** 2).toFixed(1)} %` : "…");
    const rows = entry.minima.map(({ at, value }, index) => ({ index, at, value, share: share(index) }));
    const shownRows = rows.filter(({ index }) => rows.length <= 8 || ends.has(index)).slice(0, 24);
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const column of ["Minimum", "Value", "Starts"]) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = column;
      head.append(cell);
    }
    const body = table.createTBody();
    for (const { index, at, value, share } of shownRows) {
      const row = body.insertRow();
      const name = row.insertCell();
      name.innerHTML = sample({ colour: theme.series[index % theme.series.length], dash: [], corners: 0 });
      name.append(`(${at.map((number) => significant(number, 4)).join(", ")})`);
      // What f64 makes of zero is noise.
      row.insertCell().textContent = significant(Math.abs(value) < 1e-12 ? 0 : value, 4);
      row.insertCell().textContent = share;
    }
    part("minima").replaceChildren(table);
  }
}
