// The page: what users do, and what they see of it.

import start, * as wasm from "./pkg/wgpu_optim_web.js";
import { Basins } from "./basins.js";
import { drawCurves } from "./curves.js";
import { openGpu } from "./device.js";
import { ACROSS, ReliefMap } from "./map.js";
import { significant } from "./plot.js";
import { Playback, Race, Runner } from "./race.js";
import { drawTable, lines, save } from "./results.js";
import { RuleList } from "./rules.js";
import { command, fromHash, SCHEDULES, showcase, toHash } from "./setting.js";
import { onThemeChange, theme as themeOf } from "./theme.js";
import { Timer } from "./timing.js";
import { Trainer } from "./training.js";
import { Verifier } from "./verify.js";

const part = (id) => document.getElementById(id);
const isStill = matchMedia("(prefers-reduced-motion: reduce)");
// From the last change of a field to the race.
const PATIENCE = 250;
const TABS = ["race", "basins", "train", "verify", "bench"];
// Those that say nothing of the race.
const OTHERS = ["train", "verify", "bench"];

await start();
const { Course, Relief } = wasm;
const catalog = JSON.parse(wasm.catalog());
const runner = new Runner();
const playback = new Playback(show);
const map = new ReliefMap(part("map"), (start) => change({ start }));
const changeRules = (isDragged) => change({ rules: rules.texts() }, isDragged);
const rules = new RuleList(part("rules"), catalog, wasm.fault_of, changeRules, { schedules: SCHEDULES });
let theme = themeOf(catalog);
let setting, entry;
let race = new Race(0);
let courses = {};
let adapter = {};
let waiting = null;
let tab = "race";
const basins = new Basins(
  () => ({
    course: courses[part("where").value],
    setting,
    entry,
    relief: map,
    theme,
    titles: rules.titles(),
    isStill: isStill.matches,
  }),
  moved,
);
const trainer = new Trainer(catalog, wasm, () => ({ ...courses, ...adapter }), () => theme, moved);
const timer = new Timer(catalog, wasm.timed_rules(), () => ({ course: courses.gpu, ...adapter }), moved);

const say = (text, isFault = false) => {
  part("said").textContent = text;
  part("said").classList.toggle("fault", isFault);
};

// Everything that depends on the setting, and then the race.
function open(given) {
  const found = catalog.functions.find((entry) => entry.name === given.function);
  const relief = new Relief(given.function, found.condition === null ? undefined : given.condition, ACROSS);
  rules.set(given.rules);
  // What cannot be has thrown by now.
  entry = found;
  setting = { ...given, rules: rules.texts() };
  map.show(entry, relief);
  const isFlat = entry.domain.length === 1;
  part("contours").textContent = isFlat ? "" : `${relief.remark().replace("contours", "Contours")}.`;
  part("formula").textContent = relief.formula;
  relief.free();
  part("map").setAttribute("aria-label", `${entry.name} with the paths of the rules`);
  part("about").textContent = entry.about;
  rules.draw(theme);
  fill();
  race = new Race(setting.rules.length);
  playback.hold(race, setting.steps, 0);
  run(!isStill.matches);
}

// Writes the setting into the fields and the link.
function fill() {
  part("function").value = setting.function;
  const isFlat = entry.domain.length === 1;
  const fields = { x: setting.start[0], y: isFlat ? "" : setting.start[1], noise: setting.noise ?? 0 };
  for (const id of ["steps", "condition", "seed", "schedule", "warmup"]) fields[id] = setting[id];
  for (const [id, value] of Object.entries(fields)) {
    if (document.activeElement !== part(id)) part(id).value = value ?? "";
  }
  const visible = (id, isVisible) => {
    part(id).hidden = !isVisible;
    document.querySelector(`label[for=${id}]`).hidden = !isVisible;
  };
  visible("y", !isFlat);
  visible("condition", entry.condition !== null);
  visible("seed", setting.noise !== null);
  part("command").textContent = command(setting, entry, part("where").value === "cpu");
  if (location.hash !== address()) history.replaceState(null, "", address());
}

// The part of the link after the #: all that is shown.
function address() {
  if (tab === "verify") return "#verify";
  if (tab === "train") return trainer.written();
  if (tab === "bench") return timer.written();
  return toHash(setting, entry) + (tab === "basins" ? basins.written() : "");
}

function moved() {
  history.replaceState(null, "", address());
}

// Another setting, and the race anew. A slider that is dragged shows the end at once.
function change(parts, isDragged = false) {
  clearTimeout(waiting);
  const isAnother = "condition" in parts;
  setting = { ...setting, ...parts };
  if (isAnother) return attempt(() => open(setting));
  fill();
  const isSlow = isDragged && part("where").value === "gpu";
  waiting = setTimeout(() => run(!isDragged && !isStill.matches), isSlow ? PATIENCE : 0);
}

function attempt(work) {
  try {
    say("");
    work();
  } catch (error) {
    say(error.message, true);
  }
}

async function run(isPlayed) {
  const course = courses[part("where").value];
  document.body.dataset.state = "running";
  say("");
  let isFirst = true;
  const { steps } = setting;
  const wanted = setting;
  if (setting.rules.length === 0) {
    runner.stop();
    race = new Race(0);
    playback.hold(race, steps, 0);
    document.body.dataset.state = "done";
    return say("No rule takes part: add one.");
  }
  try {
    const done = await runner.run(course, wanted, (now) => {
      race = now;
      if (isFirst && isPlayed) playback.play(now, steps);
      else if (!isPlayed) playback.hold(now, steps, now.last);
      isFirst = false;
    });
    if (!done) return;
    document.body.dataset.state = "done";
  } catch (error) {
    document.body.dataset.state = "failed";
    say(error.message, true);
  }
}

// What is shown of the race, at the playback's step.
function show() {
  const shown = Math.floor(playback.step);
  const { steps } = playback;
  const titles = rules.titles();
  if (titles.length !== race.paths.length || part("race-part").hidden) return;
  map.draw(theme, race, shown, setting.start);
  drawCurves(part("curves"), theme, entry, map.relief, race, shown, steps);
  drawTable(part("results"), theme, entry, race, titles, shown);
  part("curves").setAttribute("aria-label", `Value over ${steps} steps of ${titles.join("; ")}: the table has the numbers`);
  const value =
    entry.lowest === null
      ? "The value: the function has no minimum."
      : `How far the value is above the lowest minimum, ${significant(entry.lowest, 6)}.`;
  part("curves-help").textContent = setting.noise === null ? value : `${value} The noise is in the gradient alone.`;
  const slider = part("step");
  slider.max = steps;
  slider.value = shown;
  part("shown").textContent = `step ${shown}`;
  const isPlaying = playback.isPlaying;
  part("play").textContent = isPlaying ? "❚❚" : "▶";
  part("play").setAttribute("aria-label", isPlaying ? "Pause" : "Play");
}

// A number of a field, or a message that says what was expected.
function number(id, expected, allows) {
  const value = Number(part(id).value.trim().replace("−", "-"));
  const isGood = part(id).value.trim() !== "" && Number.isFinite(value) && allows(value);
  part(id).setAttribute("aria-invalid", String(!isGood));
  if (isGood) return value;
  const label = document.querySelector(`label[for=${id}]`).textContent;
  say(`${label} is ${JSON.stringify(part(id).value)}: expected ${expected}.`, true);
  return null;
}

function connect() {
  part("function").append(...catalog.functions.map(({ name }) => new Option(name)));
  part("schedule").append(...Object.entries(SCHEDULES).map(([name, title]) => new Option(title, name)));
  part("new-rule").append(...catalog.rules.map(({ name, title }) => new Option(title, name)));
  part("function").addEventListener("change", () => {
    const entry = catalog.functions.find(({ name }) => name === part("function").value);
    attempt(() => open(showcase(entry)));
  });
  part("run").addEventListener("click", () => run(!isStill.matches));
  part("add").addEventListener("click", () => put(() => rules.add(part("new-rule").value)));
  part("usual").addEventListener("click", () => put(() => rules.set(entry.rules)));
  part("all").addEventListener("click", () => put(() => rules.set(catalog.rules.map(({ name }) => name))));
  const whole = (least) => (value) => Number.isInteger(value) && value >= least;
  const fields = {
    steps: ["a whole number from 1 to 100000", (value) => whole(1)(value) && value <= 100_000],
    warmup: ["a whole number of steps up to 4294967295", (value) => whole(0)(value) && value < 2 ** 32],
    seed: ["a whole number up to 4294967295", (value) => whole(0)(value) && value < 2 ** 32],
    condition: ["a number above 0", (value) => value > 0],
    noise: ["a number from 0 up", (value) => value >= 0],
  };
  for (const [id, [expected, allows]] of Object.entries(fields)) {
    part(id).addEventListener("change", () => {
      const value = number(id, expected, allows);
      if (value !== null) change({ [id]: id === "noise" && value === 0 ? null : value });
    });
  }
  ["x", "y"].forEach((id, axis) => {
    part(id).addEventListener("change", () => {
      const [low, high] = entry.domain[axis];
      const value = number(id, `a number from ${low} to ${high}`, (value) => value >= low && value <= high);
      if (value !== null) change({ start: setting.start.with(axis, value) });
    });
  });
  part("schedule").addEventListener("change", () => change({ schedule: part("schedule").value }));
  part("where").addEventListener("change", () => change({}));
  part("step").addEventListener("input", () => {
    playback.hold(race, playback.steps, Math.min(Number(part("step").value), Math.max(race.last, 0)));
  });
  part("play").addEventListener("click", () => {
    if (!playback.isPlaying) return playback.play(race, playback.steps);
    playback.stop();
    show();
  });
  part("link").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      say("The link to this race is in the clipboard.");
    } catch {
      say(`The link to this race: ${location.href}`);
    }
  });
  part("save").addEventListener("click", () => save(`${setting.function}.jsonl`, lines(setting, race)));
  for (const name of TABS) {
    part(`to-${name}`).addEventListener("click", () => {
      tab = name;
      location.hash = address();
    });
  }
  new Verifier(catalog, wasm.variant_count, () => courses[part("where").value], () => part("device").textContent);
  window.addEventListener("hashchange", route);
  onThemeChange(() => {
    theme = themeOf(catalog);
    rules.draw(theme);
    show();
    basins.draw();
    trainer.redraw();
  });
}

function tabOf(hash) {
  const other = OTHERS.find((name) => new RegExp(`^#${name}(&|$)`).test(hash));
  if (other) return other;
  return /[#&]basins=/.test(hash) ? "basins" : "race";
}

// Shows the part that the link names, and what it says.
function route() {
  tab = tabOf(location.hash);
  if (tab === "basins") basins.read(location.hash);
  readOther();
  if (!OTHERS.includes(tab) && location.hash !== address()) attempt(() => open(fromHash(location.hash, catalog)));
  turn();
}

// What the link says of a part beside the race.
function readOther() {
  if (!OTHERS.includes(tab) || location.hash === address()) return;
  if (tab === "train") {
    trainer.forget();
    trainer.attempt(() => trainer.read(location.hash));
  }
  if (tab === "bench") {
    try {
      timer.read(location.hash);
    } catch (error) {
      timer.say(error.message);
    }
  }
  moved();
}

function turn() {
  for (const name of TABS) {
    part(`${name}-part`).hidden = name !== tab;
    part(`to-${name}`).setAttribute("aria-current", name === tab ? "page" : "false");
  }
  basins.stop();
  if (tab === "basins") basins.run();
  if (tab === "train") trainer.show();
  else trainer.stop();
  if (tab === "bench") timer.show();
  else timer.stop();
}

// Rules that are put otherwise.
function put(work) {
  attempt(() => {
    work();
    rules.draw(theme);
    change({ rules: rules.texts() });
  });
}

async function begin() {
  const { gpu, why, ...found } = await openGpu(Course);
  adapter = found;
  courses = { gpu, cpu: Course.on_cpu() };
  part("device").textContent = gpu
    ? `Computed on your GPU, which the browser calls ${adapter.name}.`
    : `Computed by the CPU twin in wasm, since there is no WebGPU here. ${why}`;
  part("device").classList.toggle("notice", !gpu);
  if (!gpu) {
    for (const id of ["where", "train-where"]) Object.assign(part(id), { value: "cpu", disabled: true });
  }
  connect();
  tab = tabOf(location.hash);
  if (tab === "basins") basins.read(location.hash);
  readOther();
  try {
    open(fromHash(OTHERS.includes(tab) ? "" : location.hash, catalog));
  } catch (error) {
    open(fromHash("", catalog));
    say(error.message, true);
  }
  turn();
  new ResizeObserver(show).observe(part("map"));
}

await begin();
