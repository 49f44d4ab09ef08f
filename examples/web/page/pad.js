// A pad to draw a digit on, and the 64 pixels that networks see of it.

const part = (id) => document.getElementById(id);
const SIDE = 8;
// Of a pixel's ink.
const SHADES = 16;
// Of the pad, for what is seen of a stroke.
const PEN = 0.055;

export class Pad {
  #strokes = [];
  #frame = null;

  // `reduce(strokes)`, `digit(index)` and `count` are the wasm's; `changed(pixels)` hears of each change.
  constructor(theme, reduce, digit, count, changed) {
    Object.assign(this, { theme, reduce, digit, count, changed });
    this.pixels = new Float32Array(SIDE * SIDE);
    this.cell = null;
    this.next = 0;
    const pad = part("pad");
    pad.addEventListener("pointerdown", (event) => this.down(event));
    pad.addEventListener("pointermove", (event) => this.move(event));
    part("seen").addEventListener("keydown", (event) => this.key(event));
    part("seen").addEventListener("focus", () => this.choose(this.cell ?? 0));
    part("seen").addEventListener("blur", () => this.draw());
    part("clear").addEventListener("click", () => this.clear());
    part("sample").addEventListener("click", () => this.sample());
    new ResizeObserver(() => this.draw()).observe(pad);
  }

  get isEmpty() {
    return this.pixels.every((pixel) => pixel === 0);
  }

  say(text) {
    part("pad-said").textContent = text;
  }

  clear() {
    this.#strokes = [];
    this.set(new Float32Array(SIDE * SIDE), "");
  }

  // The next of the test data.
  sample() {
    const index = this.next % this.count;
    this.next += 1;
    const digit = this.digit(index);
    this.#strokes = [];
    this.set(digit.slice(0, SIDE * SIDE), `Test digit ${index + 1} of ${this.count}: somebody’s ${digit[SIDE * SIDE]}.`);
  }

  set(pixels, words) {
    this.pixels = pixels;
    this.say(words);
    this.draw();
    this.changed(pixels);
  }

  at(event) {
    const box = part("pad").getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  down(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    part("pad").setPointerCapture(event.pointerId);
    this.#strokes.push([this.at(event)]);
    this.later();
  }

  move(event) {
    if (!part("pad").hasPointerCapture(event.pointerId)) return;
    const events = event.getCoalescedEvents?.() ?? [];
    this.#strokes.at(-1).push(...(events.length ? events : [event]).map((event) => this.at(event)));
    this.later();
  }

  // Once for all that comes between two frames.
  later() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      const numbers = this.#strokes.flatMap((stroke) => [...stroke.flat(), NaN, NaN]);
      this.set(this.reduce(Float32Array.from(numbers)), "");
    });
  }

  key(event) {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const way = ways[event.key];
    const at = this.cell ?? 0;
    const ink = this.pixels[at];
    if (way) {
      const within = (number) => Math.max(0, Math.min(SIDE - 1, number));
      this.choose(within(Math.floor(at / SIDE) + way[1]) * SIDE + within((at % SIDE) + way[0]));
    } else if (event.key === " " || event.key === "Enter") this.put(at, ink > 0 ? 0 : 1);
    else if (event.key === "+") this.put(at, Math.min(1, ink + 1 / SHADES));
    else if (event.key === "-") this.put(at, Math.max(0, ink - 1 / SHADES));
    else if (event.key === "Delete" || event.key === "Backspace") this.clear();
    else return;
    event.preventDefault();
  }

  choose(cell) {
    this.cell = cell;
    const ink = Math.round(this.pixels[cell] * SHADES);
    this.say(`Row ${Math.floor(cell / SIDE) + 1}, column ${(cell % SIDE) + 1}: ${ink} of ${SHADES}.`);
    this.draw();
  }

  put(cell, ink) {
    // What was drawn no longer says what is seen.
    this.#strokes = [];
    this.set(Float32Array.from(this.pixels, (pixel, index) => (index === cell ? ink : pixel)), "");
    this.choose(cell);
  }

  draw() {
    const { ink, ruled, series } = this.theme();
    const pen = sheet(part("pad"));
    if (!pen) return;
    pen.strokeStyle = ink;
    pen.lineWidth = PEN;
    pen.lineCap = pen.lineJoin = "round";
    for (const stroke of this.#strokes) {
      pen.beginPath();
      pen.moveTo(...stroke[0]);
      // A dot is a line without length.
      for (const point of stroke.length > 1 ? stroke.slice(1) : stroke) pen.lineTo(...point);
      pen.stroke();
    }
    const grid = sheet(part("seen"));
    grid.fillStyle = ink;
    this.pixels.forEach((pixel, index) => {
      grid.globalAlpha = pixel;
      grid.fillRect((index % SIDE) / SIDE, Math.floor(index / SIDE) / SIDE, 1 / SIDE, 1 / SIDE);
    });
    grid.globalAlpha = 1;
    grid.lineWidth = 0.004;
    grid.strokeStyle = ruled;
    for (let i = 1; i < SIDE; i++) {
      grid.strokeRect(i / SIDE, -1, 2, 3);
      grid.strokeRect(-1, i / SIDE, 3, 2);
    }
    if (this.cell === null || document.activeElement !== part("seen")) return;
    grid.lineWidth = 0.016;
    grid.strokeStyle = series[0];
    grid.strokeRect((this.cell % SIDE) / SIDE, Math.floor(this.cell / SIDE) / SIDE, 1 / SIDE, 1 / SIDE);
  }
}

// A canvas with sides of 1, cleared; nothing while it is not shown.
function sheet(canvas) {
  const size = Math.round(canvas.getBoundingClientRect().width * (window.devicePixelRatio || 1));
  if (size === 0) return null;
  if (canvas.width !== size || canvas.height !== size) Object.assign(canvas, { width: size, height: size });
  const context = canvas.getContext("2d");
  context.setTransform(size, 0, 0, size, 0, 0);
  context.clearRect(0, 0, 1, 1);
  return context;
}
