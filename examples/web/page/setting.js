// What is raced, as an object, as a link, and as a command line. The words are those of
// `landscape`'s flags.

// What the page calls each.
export const SCHEDULES = { constant: "constant", cosine: "cosine to 0", step: "× 0.1 each third" };

// The schedule of a link that there must be.
export function checkedSchedule(name) {
  if (Object.hasOwn(SCHEDULES, name)) return name;
  throw new Error(`The link’s schedule is ${name}: expected one of ${Object.keys(SCHEDULES).join(", ")}.`);
}

// What shows how optimizers differ on a function.
export function showcase(entry) {
  return {
    function: entry.name,
    condition: entry.condition,
    rules: [...entry.rules],
    start: [...entry.start],
    steps: entry.steps,
    noise: null,
    seed: 1,
    schedule: "constant",
    warmup: 0,
  };
}

// Everything that matters, as the part of a link after the #.
export function toHash(setting, entry) {
  const parts = [
    ["function", setting.function],
    ["rules", setting.rules.join(",")],
    ["start", setting.start.join(",")],
    ["steps", setting.steps],
  ];
  if (entry.condition !== null) parts.push(["condition", setting.condition]);
  if (setting.noise !== null) parts.push(["noise", setting.noise], ["seed", setting.seed]);
  if (setting.schedule !== "constant") parts.push(["schedule", setting.schedule]);
  if (setting.warmup > 0) parts.push(["warmup", setting.warmup]);
  return "#" + parts.map(([name, value]) => `${name}=${encoded(value)}`).join("&");
}

// A value of a link. Colons, commas and equals signs stay readable.
export function encoded(value) {
  return encodeURIComponent(value).replace(/%3A/g, ":").replace(/%2C/g, ",").replace(/%3D/g, "=");
}

// The setting of a link. What it leaves out is the function's own.
export function fromHash(hash, catalog) {
  const given = new Map();
  for (const part of hash.replace(/^#/, "").split("&")) {
    const at = part.indexOf("=");
    if (at > 0) given.set(part.slice(0, at), decoded(part.slice(at + 1)));
  }
  const name = given.get("function") ?? "beale";
  const entry = catalog.functions.find((entry) => entry.name === name);
  if (!entry) {
    const known = catalog.functions.map((entry) => entry.name).join(", ");
    throw new Error(`The link names a function ${JSON.stringify(name)} that there is not: expected one of ${known}.`);
  }
  const setting = showcase(entry);
  const number = (key) => {
    if (!given.has(key)) return;
    const value = Number(given.get(key));
    if (!Number.isFinite(value)) throw new Error(`The link's ${key} is ${given.get(key)}: expected a number.`);
    setting[key] = value;
  };
  ["steps", "condition", "noise", "seed", "warmup"].forEach(number);
  if (given.has("rules")) setting.rules = given.get("rules").split(",").filter((text) => text !== "");
  if (given.has("start")) {
    setting.start = given.get("start").split(",").map(Number);
    if (!setting.start.every(Number.isFinite)) throw new Error(`The link's start is ${given.get("start")}: expected numbers.`);
  }
  if (given.has("schedule")) setting.schedule = checkedSchedule(given.get("schedule"));
  return setting;
}

export function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error(`The link has ${JSON.stringify(text)}, which is no text: a % must be followed by the code of a letter.`);
  }
}

// What races the same on the user's own machine.
export function command(setting, entry, isOnCpu) {
  const words = ["cargo run --release --example landscape --", "--function", setting.function];
  words.push("--rules", setting.rules.join(","), `--start=${setting.start.join(",")}`, "--steps", setting.steps);
  if (entry.condition !== null) words.push("--condition", setting.condition);
  if (setting.noise !== null) words.push("--noise", setting.noise, "--seed", setting.seed);
  if (setting.schedule !== "constant") words.push("--schedule", setting.schedule);
  if (setting.warmup > 0) words.push("--warmup", setting.warmup);
  if (isOnCpu) words.push("--device", "cpu");
  words.push("--out", `${setting.function}.html`, "--json", `${setting.function}.jsonl`);
  return words.join(" ");
}
