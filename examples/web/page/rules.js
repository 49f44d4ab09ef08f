// The rules that take part, each with its hyperparameters.

import { look, sample } from "./theme.js";

// Digits of what a slider chooses.
const DIGITS = 3;

export class RuleList {
  // `changed(isDragged)` after each change that is no fault. `kept(name)` are the hyperparameters of a rule
  // that are written even where they have the rule's defaults; `prefix` tells two lists of a page apart; `schedules`
  // are the names and titles of those that a rule may have of its own.
  constructor(list, catalog, faultOf, changed, { kept = () => [], prefix = "rule", schedules = {} } = {}) {
    Object.assign(this, { list, faultOf, changed, kept, prefix, schedules });
    this.known = new Map(catalog.rules.map((rule) => [rule.name, { ...rule, fields: rule.fields.map(short) }]));
    this.rules = [];
  }

  // Rules as they are written, such as `adam:lr=0.1:schedule=cosine`.
  set(texts) {
    this.rules = texts.map((text) => {
      const fault = this.faultOf(text);
      if (fault) throw new Error(fault);
      const [name, ...given] = text.split(":").map((part) => part.trim());
      const rule = this.known.get(name);
      const values = new Map(rule.fields.map((field) => [field.name, field.value]));
      for (const pair of given) {
        const at = pair.indexOf("=");
        values.set(pair.slice(0, at).trim(), pair.slice(at + 1).trim());
      }
      const schedule = values.get("schedule") ?? "";
      if (schedule !== "" && !Object.hasOwn(this.schedules, schedule)) {
        const known = Object.keys(this.schedules).join(", ");
        throw new Error(`${text}: there is no schedule ${JSON.stringify(schedule)} here: expected one of ${known}.`);
      }
      values.delete("schedule");
      return { rule, values, schedule };
    });
  }

  texts() {
    return this.rules.map((entry) => this.written(entry));
  }

  titles() {
    return this.rules.map(title);
  }

  add(text) {
    this.set([...this.texts(), text]);
  }

  // As in a link: with the learning rate, with what else differs from the defaults, and with a schedule of its own.
  written(entry) {
    const { rule, values, schedule } = entry;
    const different = differing(entry).map(({ name }) => name);
    const names = new Set(["lr", ...this.kept(rule.name), ...different]);
    const fields = rule.fields.filter(({ name }) => names.has(name));
    const own = schedule === "" ? [] : [`schedule=${schedule}`];
    return [rule.name, ...fields.map(({ name }) => `${name}=${values.get(name)}`), ...own].join(":");
  }

  draw(theme) {
    const open = [...this.list.querySelectorAll("details")].map((part) => part.open);
    this.list.replaceChildren(...this.rules.map((entry, index) => this.card(entry, index, theme, open[index])));
  }

  card(entry, index, theme, isOpen) {
    const card = document.createElement("li");
    const head = element("div", { className: "head" });
    head.innerHTML = sample(look(index, theme));
    const name = element("b", { textContent: title(entry) });
    const remove = element("button", { type: "button", textContent: "×" });
    remove.setAttribute("aria-label", `Remove ${title(entry)}`);
    remove.addEventListener("click", () => {
      this.rules.splice(index, 1);
      this.draw(theme);
      this.changed(false);
      // The keyboard goes on where the rule was.
      const next = this.list.querySelectorAll(".head button");
      (next[Math.min(index, next.length - 1)] ?? this.list).focus();
    });
    head.append(name, remove);
    const fault = element("p", { className: "fault", hidden: true });
    fault.setAttribute("role", "alert");
    const tell = (isDragged) => {
      name.textContent = title(entry);
      const found = this.faultOf(this.written(entry));
      fault.hidden = !found;
      fault.textContent = found ?? "";
      if (!found) this.changed(isDragged);
    };
    const [lr, ...others] = [...entry.rule.fields].sort((a, b) => (b.name === "lr") - (a.name === "lr"));
    const more = element("details", { open: isOpen ?? false });
    more.append(element("summary", { textContent: `${others.length} more` }));
    for (const field of others) more.append(this.field(entry, field, index, tell));
    card.append(head, this.field(entry, lr, index, tell));
    if (Object.keys(this.schedules).length > 0) card.append(this.schedule(entry, index, tell));
    card.append(more, fault);
    return card;
  }

  schedule(entry, index, tell) {
    const names = [["", "as in Setting"], ...Object.entries(this.schedules)];
    const label = { name: "schedule", title: "How the learning rate goes on" };
    return this.choice(label, names, entry.schedule, index, (name) => {
      entry.schedule = name;
      tell(false);
    });
  }

  // A labelled list of names with what each is called.
  choice({ name, title }, names, chosen, index, choose) {
    const row = element("div", { className: "hyper" });
    const id = `${this.prefix}-${index}-${name}`;
    const select = element("select", { id, className: "wide" });
    select.append(...names.map(([value, shown]) => new Option(shown, value, false, value === chosen)));
    select.addEventListener("change", () => choose(select.value));
    row.append(element("label", { htmlFor: id, textContent: name, title }), select);
    return row;
  }

  field(entry, field, index, tell) {
    const value = entry.values.get(field.name);
    if (field.names.length > 0) {
      const names = field.names.map((name) => [name, name]);
      return this.choice({ name: field.name, title: field.allowed }, names, value, index, (chosen) => {
        entry.values.set(field.name, chosen);
        tell(false);
      });
    }
    const row = element("div", { className: "hyper" });
    const id = `${this.prefix}-${index}-${field.name}`;
    const label = element("label", { htmlFor: id, textContent: field.name, title: field.allowed });
    const input = element("input", { id, value, inputMode: "decimal", autocomplete: "off", title: field.allowed });
    const range = field.slider && slider(field);
    const drag = range && element("input", { type: "range", step: "any", min: range.min, max: range.max, value: range.place(Number(value)) });
    input.addEventListener("change", () => {
      entry.values.set(field.name, input.value.trim());
      if (drag) drag.value = range.place(Number(input.value));
      tell(false);
    });
    row.append(label);
    if (drag) {
      drag.setAttribute("aria-label", `${field.name} of ${title(entry)}`);
      drag.step = (range.max - range.min) / 120;
      drag.addEventListener("input", () => {
        input.value = range.number(Number(drag.value));
        entry.values.set(field.name, input.value);
        tell(true);
      });
      row.append(drag);
    } else {
      input.classList.add("wide");
    }
    row.append(input);
    return row;
  }
}

// A number without many zeros: 1e-8.
function short(field) {
  return field.names.length > 0 ? field : { ...field, value: String(Number(field.value)) };
}

// A slider's places for numbers and back.
function slider(field) {
  if (field.slider === "share") {
    return {
      min: 0,
      max: 4,
      place: (number) => -Math.log10(Math.max(1 - number, 1e-4)),
      number: (place) => String(Number((1 - Number((10 ** -place).toPrecision(DIGITS))).toFixed(8))),
    };
  }
  const middle = Math.log10(Number(field.value));
  const [min, max] = field.name === "lr" ? [-5, 1] : [middle - 2, middle + 2];
  return {
    min,
    max,
    place: (number) => Math.log10(Math.max(number, 10 ** min)),
    number: (place) => String(Number((10 ** place).toPrecision(DIGITS))),
  };
}

// What differs from the rule's defaults.
function differing({ rule, values }) {
  return rule.fields.filter(({ name, value }) => {
    const now = values.get(name);
    return now !== value && !(now !== "" && Number(now) === Number(value));
  });
}

function title(entry) {
  const different = differing(entry).filter(({ name }) => name !== "lr");
  const own = entry.schedule === "" ? [] : [`schedule ${entry.schedule}`];
  return [entry.rule.title, ...different.map(({ name }) => `${name} ${entry.values.get(name)}`), ...own].join(", ");
}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
