// Steps on the visitor's GPU against copies of as many bytes: what is chosen, a table, a report.

import { significant } from "./plot.js";
import { save } from "./results.js";
import { decoded, encoded } from "./setting.js";

const part = (id) => document.getElementById(id);
const USUAL = ["sgd", "adam", "adamw", "lion", "rmsprop"];
// Of state alone, or of parameters, gradients and state.
const FORMATS = [["f32", "all in f32"], ["bf16", "state in bf16"], ["int8", "state in int8"], ["bf16+8/bf16/int8", "bf16+8 / bf16 / int8"]];
const POWERS = Array.from({ length: 9 }, (_, i) => 16 + i);
// A software adapter takes a CPU's time for each.
const OF_HARDWARE = 22, OF_SOFTWARE = 18;
const ROUNDS = [5, 11, 21];
const COLUMNS = ["Rule", "ms per step", "GB/s", "Copy’s time / step’s", "Bytes per parameter", "Recorded in", "Copied by"];

export class Timer {
  #isStopped = true;

  // `device()` gives the course, the adapter's name and whether it is software.
  constructor(catalog, rules, device, moved) {
    Object.assign(this, { catalog, rules, device, moved });
    this.rows = [];
    this.about = null;
    const titles = new Map(catalog.rules.map(({ name, title }) => [name, title]));
    part("timed").append(...rules.map((name) => this.box(name, titles.get(name))));
    part("stored").append(...FORMATS.map(([name, title]) => this.box(name, title)));
    part("size").append(...POWERS.map((power) => new Option(`${(2 ** power).toLocaleString("en")} parameters`, `2^${power}`)));
    part("rounds").append(...ROUNDS.map((rounds) => new Option(`${rounds} rounds`, rounds)));
    for (const id of ["size", "rounds"]) part(id).addEventListener("change", () => this.choose());
    part("time").addEventListener("click", () => (this.#isStopped ? this.run() : this.stop()));
    part("bench-report").addEventListener("click", () => this.copy());
    part("bench-save").addEventListener("click", () => save("bench.jsonl", this.lines()));
    document.addEventListener("visibilitychange", () => (this.wasHidden ||= document.hidden));
  }

  box(name, title) {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", value: name });
    box.addEventListener("change", () => this.choose());
    label.append(box, title);
    return label;
  }

  usual() {
    const power = this.device().isSoftware ? OF_SOFTWARE : OF_HARDWARE;
    return { rules: USUAL, formats: ["f32"], size: `2^${power}`, rounds: 11 };
  }

  // The setting of a link; what it leaves out is as usual.
  read(hash) {
    this.setting = this.usual();
    for (const pair of hash.replace(/^#/, "").split("&").slice(1)) {
      const [key, text] = [pair.slice(0, pair.indexOf("=")), decoded(pair.slice(pair.indexOf("=") + 1))];
      if (key === "rules") this.setting.rules = known(text.split(","), this.rules, "rules");
      if (key === "formats") this.setting.formats = known(text.split(","), FORMATS.map(([name]) => name), "formats");
      if (key === "size") [this.setting.size] = known([text], POWERS.map((power) => `2^${power}`), "size");
      if (key === "rounds") [this.setting.rounds] = known([Number(text)], ROUNDS, "rounds");
    }
  }

  written() {
    const { rules, formats, size, rounds } = this.setting ?? this.usual();
    return `#bench&rules=${encoded(rules.join(","))}&formats=${encoded(formats.join(","))}&size=${encoded(size)}&rounds=${rounds}`;
  }

  // What the boxes and lists say.
  choose() {
    const checked = (id) => [...part(id).querySelectorAll("input:checked")].map((box) => box.value);
    this.setting = { rules: checked("timed"), formats: checked("stored"), size: part("size").value, rounds: Number(part("rounds").value) };
    this.moved();
  }

  show() {
    this.setting ??= this.usual();
    const { rules, formats, size, rounds } = this.setting;
    for (const box of part("timed").querySelectorAll("input")) box.checked = rules.includes(box.value);
    for (const box of part("stored").querySelectorAll("input")) box.checked = formats.includes(box.value);
    Object.assign(part("size"), { value: size });
    Object.assign(part("rounds"), { value: rounds });
    const { course, isSoftware, name } = this.device();
    part("time").disabled = !course;
    part("software").hidden = !isSoftware;
    part("software").textContent = `${name} is a program that stands in for a GPU: its times say nothing about one.`;
    if (!course) this.say("Timings are of a GPU, and there is no WebGPU here: see above.");
  }

  say(text) {
    part("bench-said").textContent = text;
  }

  stop() {
    this.#isStopped = true;
    part("time").textContent = "Time";
  }

  async run() {
    const { rules, formats, size, rounds } = this.setting;
    const wanted = rules.flatMap((rule) => formats.map((format) => [rule, format]));
    if (wanted.length === 0) return this.say("Nothing is to be timed: choose rules and formats.");
    this.#isStopped = false;
    this.rows = [];
    this.wasHidden = document.hidden;
    part("bench-part").dataset.state = "running";
    part("time").textContent = "Stop";
    part("bench-report").disabled = part("bench-save").disabled = true;
    Object.assign(part("timed-part"), { value: 0, max: wanted.length });
    this.say("Measuring the clock …");
    const body = this.table();
    const { course, name } = this.device();
    let stopwatch = null;
    try {
      stopwatch = await course.stopwatch(name, rounds);
      this.about = JSON.parse(stopwatch.about);
      part("clock").textContent = this.clock();
      for (const [rule, format] of wanted) {
        if (this.#isStopped) break;
        this.say(`${rule}, ${this.rows.length + 1} of ${wanted.length}: the copies’ contest, then ${rounds} rounds …`);
        const row = JSON.parse(await stopwatch.row(rule, format, size));
        this.rows.push(row);
        this.add(body, row);
        part("timed-part").value = this.rows.length;
      }
      this.say(this.summary(wanted.length));
    } catch (error) {
      this.say(error.message);
    }
    stopwatch?.free();
    this.stop();
    part("bench-report").disabled = part("bench-save").disabled = this.rows.length === 0;
    part("bench-part").dataset.state = "done";
  }

  clock() {
    const { tick_ms, round_trip_ms, sample_ms } = this.about;
    const ms = (number) => significant(number, 2);
    return `Here its ticks are ${ms(tick_ms)} ms apart, and an empty submission takes ${ms(round_trip_ms)} ms, so a sample is as many steps as take ${ms(sample_ms)} ms.`;
  }

  table() {
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const column of COLUMNS) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = column;
      head.append(cell);
    }
    part("times").replaceChildren(table);
    return table.createTBody();
  }

  add(body, row) {
    const line = body.insertRow();
    if (row.error) {
      line.classList.add("failed");
      line.insertCell().textContent = label(row);
      Object.assign(line.insertCell(), { colSpan: COLUMNS.length - 1, textContent: `not timed: ${row.error}` });
      return;
    }
    cells(row).forEach((text) => (line.insertCell().textContent = text));
  }

  summary(wanted) {
    const cut = this.rows.length < wanted ? ` Stopped: ${wanted} were to be timed.` : "";
    const hidden = this.wasHidden ? " The tab was in the background meanwhile: time again." : "";
    return `${this.rows.length} timed over ${this.setting.size} parameters.${cut}${hidden}`;
  }

  // As `bench --json` writes them.
  lines() {
    return this.rows.map((row) => JSON.stringify(row) + "\n").join("");
  }

  // As Markdown, for an issue.
  text() {
    const written = this.rows.map((row) => (row.error ? [label(row), `not timed: ${row.error}`, ...COLUMNS.slice(2).map(() => "")] : cells(row)));
    const table = [COLUMNS, COLUMNS.map(() => "---"), ...written];
    const lines = table.map((row) => `| ${row.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`);
    const { name, isSoftware } = this.device();
    const { clock, copies, rounds } = this.about;
    const facts = [`${name}${isSoftware ? ", a software adapter" : ""}`, navigator.userAgent, new Date().toISOString()];
    const how = `${clock}, ${rounds} rounds; the copy is the fastest of ${copies} shaders. ${this.clock()}`;
    return [...facts, "", how, part("bench-said").textContent, "", ...lines, "", "```json", this.lines().trimEnd(), "```", ""].join("\n");
  }

  async copy() {
    const text = this.text();
    try {
      await navigator.clipboard.writeText(text);
      this.say("The report is in the clipboard.");
    } catch {
      Object.assign(part("bench-written"), { hidden: false, textContent: text });
      this.say("The browser keeps the clipboard to itself: the report is below.");
    }
  }
}

function known(names, all, what) {
  const other = names.find((name) => !all.includes(name));
  if (other !== undefined) throw new Error(`The link’s ${what} have ${JSON.stringify(other)}: expected some of ${all.join(", ")}.`);
  return names;
}

const label = ({ rule, format }) => (format === "f32" ? rule : `${rule} ${format}`);

function cells(row) {
  const ratio = (number) => number.toFixed(2);
  return [
    label(row),
    significant(row.ms, 3),
    significant(row.gb_per_s, 3),
    `${ratio(row.copy_ratio)} (${ratio(row.copy_ratio_low)} … ${ratio(row.copy_ratio_high)})`,
    String(row.bytes_per_element),
    `${significant(row.record_us, 2)} µs`,
    row.copy,
  ];
}
