// Where each rule is: as a table, and as the lines of JSON that `landscape --json` writes.

import { height } from "./curves.js";
import { lastFinite } from "./map.js";
import { significant } from "./plot.js";
import { look, sample } from "./theme.js";

export function drawTable(part, theme, entry, race, titles, shown) {
  const above = entry.lowest === null ? "Value" : "Above the minimum";
  const columns = entry.domain.length === 2 ? ["Rule", above, "x", "y"] : ["Rule", above, "x"];
  const table = document.createElement("table");
  table.createCaption().textContent = `After ${shown} steps`;
  const head = table.createTHead().insertRow();
  for (const column of columns) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = column;
    head.append(cell);
  }
  const body = table.createTBody();
  race.paths.forEach((path, index) => {
    const end = lastFinite(path, shown);
    if (end < 0) return;
    const row = body.insertRow();
    const name = row.insertCell();
    name.innerHTML = sample(look(index, theme));
    name.append(titles[index]);
    if (end < Math.min(shown, path.x.length - 1)) name.append(`: no finite number since step ${end + 1}`);
    const places = [path.x[end], path.y[end]].slice(0, entry.domain.length);
    const value = height(entry, path.value[end]);
    for (const text of [significant(value, 3), ...places.map((place) => significant(place, 4))]) {
      row.insertCell().textContent = text;
    }
  });
  part.replaceChildren(table);
}

// One object for each step of each path, one a line; what is not finite becomes null.
export function lines(setting, race) {
  const rules = setting.rules.map((text) => {
    const [rule, ...pairs] = text.split(":");
    const { schedule = setting.schedule, ...given } = Object.fromEntries(pairs.map((pair) => pair.split("=")));
    const hyper = Object.entries(given).map(([name, value]) => [name, typed(value)]);
    return { rule, hyper: Object.fromEntries(hyper.sort()), schedule };
  });
  const written = [];
  for (let step = 0; step <= race.last; step++) {
    race.paths.forEach((path, index) => {
      const x = [path.x[step], path.y[step]].slice(0, setting.start.length);
      const line = { function: setting.function, ...rules[index], start: setting.start, step, x, value: path.value[step] };
      written.push(JSON.stringify(line));
    });
  }
  return written.join("\n") + "\n";
}

function typed(text) {
  if (text === "true" || text === "false") return text === "true";
  return Number.isFinite(Number(text)) ? Number(text) : text;
}

export function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/jsonl" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
