// Networks that learn the digits side by side: what users choose, and what they see of it.

import { drawCurves, drawGuesses, drawScores } from "./learning.js";
import { Pad } from "./pad.js";
import { save } from "./results.js";
import { RuleList } from "./rules.js";
import { checkedSchedule, decoded, encoded } from "./setting.js";

const part = (id) => document.getElementById(id);
const MOST_RULES = 5;
// What most people start with, each with what suits the digits; and the widths that `compare` has.
const USUAL = { rules: ["sgd:lr=0.03:momentum=0.9", "adamw", "lion", "muon"], hidden: "256,128" };
// Where a CPU stands in for a GPU, patience counts.
const USUAL_OF_SOFTWARE = { rules: USUAL.rules.slice(0, 3), hidden: "48" };
// The keys of a link.
const KEYS = { epochs: "epochs", batch_size: "batch", hidden: "hidden", seed: "seed", schedule: "schedule", warmup: "warmup" };
const FIELDS = {
  epochs: ["epochs", "a whole number from 1 to 1000", /^\d+$/, (text) => text >= 1 && text <= 1000],
  batch_size: ["batch", "a whole number from 4 up, or all", /^(\d+|all)$/, (text) => text === "all" || text >= 4],
  hidden: ["hidden", "widths such as 256,128, or nothing", /^(\d+(\s*,\s*\d+)*)?$/, () => true],
  seed: ["train-seed", "a whole number up to 4294967295", /^\d+$/, (text) => text < 2 ** 32],
  warmup: ["train-warmup", "a whole number of steps", /^\d+$/, (text) => text < 2 ** 32],
};
const NUMBERS = ["epochs", "seed", "warmup"];

export class Trainer {
  #number = 0;
  #isRunning = false;
  #theme;

  // `wasm` has what the module exports; `device()` gives the courses on `gpu` and `cpu`, and whether the GPU is
  // software; `moved()` hears of another setting.
  constructor(catalog, wasm, device, theme, moved) {
    Object.assign(this, { wasm, device, moved });
    this.#theme = theme;
    this.texts = new Map(catalog.rules.map(({ name, training }) => [name, training]));
    const names = (text) => text.split(":").slice(1).map((pair) => pair.split("=")[0]);
    const options = { kept: (name) => names(this.texts.get(name) ?? ""), prefix: "learner" };
    this.rules = new RuleList(part("learners"), catalog, wasm.training_fault_of, () => this.change({}), options);
    const usable = catalog.rules.filter(({ training }) => training !== null);
    part("new-learner").append(...usable.map(({ name, title }) => new Option(title, name, false, name === "adam")));
    this.setting = null;
    this.runs = [];
    this.trial = null;
    const digits = wasm.test_digit_count();
    this.pad = new Pad(() => this.theme, wasm.pad_pixels, wasm.test_digit, digits, () => this.guess());
    this.connect();
  }

  get theme() {
    return this.#theme();
  }

  usual() {
    const { rules, hidden } = this.device().isSoftware ? USUAL_OF_SOFTWARE : USUAL;
    const texts = rules.map((text) => this.texts.get(text) ?? text);
    return { rules: texts, epochs: 12, batch_size: "32", hidden, seed: 1, schedule: "cosine", warmup: 0 };
  }

  // The setting of a link; what it leaves out is as usual. Says what is wrong with it.
  read(hash) {
    const setting = this.usual();
    for (const pair of hash.replace(/^#/, "").split("&").slice(1)) {
      const [key, text] = [pair.slice(0, pair.indexOf("=")), decoded(pair.slice(pair.indexOf("=") + 1))];
      if (key === "rules") setting.rules = text.split(",").filter((rule) => rule !== "");
      const name = Object.keys(KEYS).find((name) => KEYS[name] === key);
      if (name) setting[name] = name === "schedule" ? text : this.checked(name, text, `The link’s ${key}`);
    }
    checkedSchedule(setting.schedule);
    this.rules.set(setting.rules);
    this.setting = { ...setting, rules: this.rules.texts() };
  }

  written() {
    if (!this.setting) this.read("");
    const pairs = Object.entries(KEYS).map(([name, key]) => `${key}=${encoded(this.setting[name])}`);
    return `#train&rules=${encoded(this.setting.rules.join(","))}&${pairs.join("&")}`;
  }

  checked(name, text, label) {
    const [, expected, form, allows] = FIELDS[name];
    const short = text.trim();
    if (!form.test(short) || !allows(short)) throw new Error(`${label} is ${JSON.stringify(text)}: expected ${expected}.`);
    return NUMBERS.includes(name) ? Number(short) : short.replace(/\s/g, "");
  }

  say(text, isFault = false) {
    part("train-said").textContent = text;
    part("train-said").classList.toggle("fault", isFault);
  }

  attempt(work) {
    try {
      this.say("");
      work();
    } catch (error) {
      this.say(error.message, true);
    }
  }

  connect() {
    for (const [name, [id]] of Object.entries(FIELDS)) {
      part(id).addEventListener("change", () => {
        const label = document.querySelector(`label[for=${id}]`).textContent;
        this.attempt(() => this.change({ [name]: this.checked(name, part(id).value, label) }));
      });
    }
    part("train-schedule").addEventListener("change", () => this.change({ schedule: part("train-schedule").value }));
    part("train-where").addEventListener("change", () => this.fill());
    part("add-learner").addEventListener("click", () => {
      this.attempt(() => this.rules.add(this.texts.get(part("new-learner").value)));
      this.rules.draw(this.theme);
      this.change({});
    });
    part("train").addEventListener("click", () => (this.#isRunning ? this.stop() : this.run()));
    part("train-save").addEventListener("click", () => save("digits.jsonl", this.lines()));
    part("train-link").addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(location.href);
        this.say("The link to this training is in the clipboard.");
      } catch {
        this.say(`The link to this training: ${location.href}`);
      }
    });
    for (const canvas of ["losses", "accuracies"]) new ResizeObserver(() => this.draw()).observe(part(canvas));
  }

  // Another setting: what was trained with the one before is no longer shown.
  change(parts) {
    this.setting = { ...this.setting, ...parts, rules: this.rules.texts() };
    this.forget();
    this.fill();
    this.guess();
    this.moved();
  }

  forget() {
    this.stop();
    this.running(false);
    this.#number += 1;
    this.runs = [];
    this.trial = null;
    part("train-part").dataset.state = "waiting";
  }

  // Writes the setting into the fields.
  fill() {
    for (const [name, [id]] of Object.entries(FIELDS)) part(id).value = this.setting[name];
    part("train-schedule").value = this.setting.schedule;
    const isFull = this.setting.rules.length >= MOST_RULES;
    part("add-learner").disabled = part("new-learner").disabled = isFull;
    part("train-command").textContent = this.command();
    this.draw();
  }

  // Everything, when the part comes into view.
  show() {
    if (!this.setting) this.read("");
    this.rules.draw(this.theme);
    this.fill();
    this.guess();
  }

  // What trains the same natively.
  command() {
    const { rules, epochs, batch_size, hidden, seed, schedule, warmup } = this.setting;
    const words = ["cargo run --release --example compare --", "--no-baselines", "--optimizers", rules.join(",")];
    words.push("--epochs", epochs, "--batch-size", batch_size, "--hidden", hidden === "" ? '""' : hidden);
    words.push("--seed", seed, "--schedule", schedule);
    if (warmup > 0) words.push("--warmup", warmup);
    words.push("--device", part("train-where").value, "--json", "digits.jsonl", "--out", "digits.html");
    return words.join(" ");
  }

  stop() {
    this.isStopped = true;
  }

  async run() {
    const number = ++this.#number;
    const isCurrent = () => number === this.#number;
    this.isStopped = false;
    this.runs = this.setting.rules.map(() => []);
    this.say("Preparing the networks …");
    part("train-part").dataset.state = "running";
    const observe = async (index, line) => {
      if (isCurrent() && line !== undefined) {
        this.runs[index].push(JSON.parse(line));
        this.say(`Training: epoch ${Math.min(...this.runs.map((run) => run.length))} of ${this.setting.epochs} …`);
        this.draw();
        if (!this.pad.isEmpty) this.guess();
      }
      this.trial.ask(!this.pad.isEmpty);
      // The page's turn.
      await new Promise((resume) => setTimeout(resume));
      return isCurrent() && !this.isStopped;
    };
    try {
      const trial = this.device()[part("train-where").value].trial(JSON.stringify(this.setting));
      this.trial = trial;
      this.running(true);
      this.draw();
      await trial.run((...heard) => (isCurrent() ? observe(...heard) : false));
      if (!isCurrent()) return;
      const size = `${trial.layers}, ${trial.parameters} parameters each`;
      this.say(this.isStopped ? `Stopped. ${size}.` : `Done. ${size}.`);
      part("train-part").dataset.state = "done";
    } catch (error) {
      if (!isCurrent()) return;
      this.say(error.message, true);
      part("train-part").dataset.state = "failed";
    }
    this.running(false);
    this.draw();
    this.guess();
  }

  running(isRunning) {
    this.#isRunning = isRunning;
    part("train").textContent = isRunning ? "Stop" : "Train";
  }

  // As `compare` writes them: one optimizer after the other.
  lines() {
    return this.runs.flat().map((line) => JSON.stringify(line) + "\n").join("");
  }

  guess() {
    if (part("train-part").hidden) return;
    const titles = this.rules.titles();
    let parts = new Float32Array(10 * titles.length).fill(NaN);
    if (this.trial && !this.pad.isEmpty) parts = this.trial.guesses(this.pad.pixels);
    drawGuesses(part("guesses"), this.theme, titles, parts);
  }

  draw() {
    if (part("train-part").hidden) return;
    const { epochs } = this.setting;
    const titles = this.rules.titles();
    drawCurves(part, this.theme, this.runs, epochs);
    drawScores(part("scores"), this.theme, titles.map((_, index) => this.runs[index] ?? []), titles);
    part("losses").setAttribute("aria-label", `Training loss over ${epochs} epochs of ${titles.join("; ")}: the table has the numbers`);
    part("accuracies").setAttribute("aria-label", `Test accuracy over ${epochs} epochs of ${titles.join("; ")}: the table has the numbers`);
    part("train-save").disabled = this.runs.every((run) => run.length === 0);
    this.pad.draw();
    if (!part("guesses").hasChildNodes()) this.guess();
  }

  redraw() {
    this.rules.draw(this.theme);
    this.draw();
    this.guess();
  }
}
